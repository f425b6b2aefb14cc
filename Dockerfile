# One image for every `pullgate` command; `make image` builds it. It runs as any user, without a name or a home, on a
# root file system that may be read-only; only /data is written. docs/image.md says what is in it.
# The digest is that of the index of all platforms.
ARG BASE=docker.io/library/python:3.13.15-slim-trixie@sha256:7c61056e61ac89e852de05f3dc6fa51a6dd2181797bceed46aa725dd7cb2cd3b

FROM ${BASE} AS build
# The secrets are optional: where the index of packages is set, and the certificates that it needs.
ENV PIP_CONFIG_FILE=/run/secrets/pip.conf PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PYTHONDONTWRITEBYTECODE=1
WORKDIR /src
# pip and what builds the package stay in a venv of this stage.
RUN python3.13 -m venv /build && python3.13 -m venv --without-pip /opt/pullgate
COPY requirements/ requirements/
RUN --mount=type=secret,id=pip.conf --mount=type=secret,id=ca.crt \
    /build/bin/pip install --require-hashes -r requirements/build.lock \
    && /build/bin/pip --python /opt/pullgate/bin/python install --no-compile --require-hashes -r requirements/image.lock
COPY pyproject.toml README.md LICENSE ./
COPY core/ core/
COPY operator/ operator/
COPY proxy/ proxy/
COPY cli/ cli/
COPY scripts/prune-image scripts/prune-image
RUN /build/bin/pip wheel --no-deps --no-build-isolation --no-index --wheel-dir /wheels . \
    && /build/bin/pip --python /opt/pullgate/bin/python install --no-compile --no-deps --no-index /wheels/*.whl \
    && scripts/prune-image /opt/pullgate/lib/python3.13/site-packages \
    && /opt/pullgate/bin/python -m compileall -q -x '/kubernetes/aio/client/(api|models)/' /opt/pullgate/lib

FROM ${BASE}
ARG VERSION=0.1.0
ARG REVISION=unknown
ARG SOURCE=https://github.com/pullgate/pullgate
LABEL org.opencontainers.image.title="Pullgate" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.source="${SOURCE}" \
      org.opencontainers.image.revision="${REVISION}"
ENV PATH=/opt/pullgate/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    HOME=/ LANG=C.UTF-8 PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
# A user without a name has no home, and libraries ask for it: / is what container engines give.
# The base's pip is of no use here. A cluster that gives pods a random user puts it into group 0.
RUN rm -rf /usr/local/lib/python3.13/site-packages/pip* /usr/local/bin/pip* \
        /usr/local/lib/python3.13/ensurepip /usr/lib/python3.13/ensurepip /usr/share/python-wheels \
    && mkdir /data && chown 65532:0 /data && chmod 0775 /data
COPY --from=build /opt/pullgate /opt/pullgate
USER 65532:65532
WORKDIR /data
EXPOSE 8080 8081
ENTRYPOINT ["pullgate"]
CMD ["standalone", "/data", "--listen", "0.0.0.0:8080", "--admin", "0.0.0.0:8081"]
