#!/bin/sh
# Puts the programs that `make chart` uses into .tools/bin, once: those that are neither on the PATH nor in the folder that
# TOOLS names. Pinned; built from their Go modules, promtool taken out of Debian's package without installing it.
set -eu

cd "$(dirname "$0")/../.."
HELM=v3.22.0
HELM_UNITTEST=v1.1.2
KUBECONFORM=v0.8.0
KUBE_SCORE=v1.20.0

BIN=$PWD/.tools/bin
export CGO_ENABLED=0 GOBIN="$BIN" GOWORK=off GOFLAGS="-trimpath -buildvcs=false"
PATH=${TOOLS:+$TOOLS:}$BIN:$PATH
missing=

has() { command -v "$1" >/dev/null 2>&1; }

install() { # install PROGRAM MODULE-AND-VERSION
    has "$1" && return 0
    has go || { missing="$missing $1"; return 0; }
    echo "building $1 from $2 ..."
    go install -ldflags "-s -w" "$2"
}

# `go install` refuses a module that replaces one of its own, so a module of ours takes its list of versions over.
helm_unittest() {
    has helm-unittest && return 0
    has go || { missing="$missing helm-unittest"; return 0; }
    module=github.com/helm-unittest/helm-unittest
    echo "building helm-unittest from $module@$HELM_UNITTEST ..."
    upstream=$(go mod download -json "$module@$HELM_UNITTEST" | sed -n 's/^.*"Dir": "\(.*\)",$/\1/p')
    work=$(mktemp -d)
    cp "$upstream/go.mod" "$upstream/go.sum" "$work"
    chmod u+w "$work"/go.*
    (
        cd "$work"
        go mod edit -module unittest -require "$module@$HELM_UNITTEST"
        go build -mod=mod -o "$BIN/" -ldflags "-s -w" "$module/cmd/helm-unittest"
    )
    rm -r "$work"
}

promtool_from_package() {
    has promtool && return 0
    has apt-get && has dpkg-deb || { missing="$missing promtool"; return 0; }
    echo "taking promtool out of the package prometheus ..."
    work=$(mktemp -d)
    (
        cd "$work"
        apt-get -qq download prometheus 2>/dev/null || { apt-get -qq update && apt-get -qq download prometheus; }
        dpkg-deb --fsys-tarfile prometheus_*.deb | tar -x ./usr/bin/promtool
        mv usr/bin/promtool "$BIN/"
    )
    rm -r "$work"
}

mkdir -p "$BIN"
install helm "helm.sh/helm/v3/cmd/helm@$HELM"
helm_unittest
install kubeconform "github.com/yannh/kubeconform/cmd/kubeconform@$KUBECONFORM"
install kube-score "github.com/zegl/kube-score/cmd/kube-score@$KUBE_SCORE"
promtool_from_package
if [ -n "$missing" ]; then
    echo "not installed:$missing. Go builds all but promtool, which is part of the package prometheus (Homebrew has all)." >&2
    exit 1
fi
