# syntax=docker/dockerfile:1
# One image for every `pullgate` command.
# It runs as a user without a name or a home, on a root file system that may be read-only; only /data is written.
FROM python:3.13.9-slim-trixie AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PYTHONDONTWRITEBYTECODE=1
WORKDIR /src
RUN python -m venv /opt/pullgate
COPY requirements/ requirements/
RUN /opt/pullgate/bin/pip install --require-hashes -r requirements/image.lock -r requirements/build.lock
COPY pyproject.toml README.md LICENSE ./
COPY core/ core/
COPY operator/ operator/
COPY proxy/ proxy/
COPY cli/ cli/
RUN /opt/pullgate/bin/pip install --no-deps --no-build-isolation . \
    && /opt/pullgate/bin/python -m compileall -q /opt/pullgate/lib

FROM python:3.13.9-slim-trixie
LABEL org.opencontainers.image.title="Pullgate" \
      org.opencontainers.image.licenses="Apache-2.0"
ENV PATH=/opt/pullgate/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
COPY --from=build /opt/pullgate /opt/pullgate
USER 65532:65532
WORKDIR /data
EXPOSE 8080 8081
ENTRYPOINT ["pullgate"]
CMD ["standalone", "/data", "--listen", "0.0.0.0:8080", "--admin", "0.0.0.0:8081"]
