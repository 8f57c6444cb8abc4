#!/bin/sh
# Puts the servers that the stack and its tests start into .tools/, once: versitygw (S3) and Toxiproxy built from their Go
# modules, Kafka and HDFS as jars from Maven. PostgreSQL comes from the system's packages, MLflow from the environment.
# What cannot be installed is named, and the rest goes on; `sh stack/tools.sh versitygw kafka` installs only these.
set -u

cd "$(dirname "$0")/.."
VERSITYGW=v1.8.0
TOXIPROXY=v2.5.0
TOOLS=$PWD/.tools
export GOBIN="$TOOLS/bin" CGO_ENABLED=0 GOWORK=off GOFLAGS="-trimpath -buildvcs=false"
missing=
mkdir -p "$TOOLS/bin"

versitygw() {
    [ -x "$TOOLS/bin/versitygw" ] && return
    echo "building versitygw $VERSITYGW (some minutes, once) ..."
    go install -ldflags "-s -w" "github.com/versity/versitygw/cmd/versitygw@$VERSITYGW"
}

toxiproxy() {
    [ -x "$TOOLS/bin/toxiproxy-server" ] && return
    echo "building Toxiproxy $TOXIPROXY ..."
    work=$(mktemp -d)
    GOBIN=$work go install -ldflags "-s -w" "github.com/Shopify/toxiproxy/v2/cmd/server@$TOXIPROXY" &&
        mv "$work/server" "$TOOLS/bin/toxiproxy-server"
    rm -r "$work"
    [ -x "$TOOLS/bin/toxiproxy-server" ]
}

jars() { # jars NAME: what stack/NAME/pom.xml needs, whole or not at all
    [ -d "$TOOLS/$1" ] && return
    echo "fetching the jars of $1 ..."
    rm -rf "$TOOLS/$1.part"
    mvn -q -B -f "stack/$1/pom.xml" dependency:copy-dependencies -DincludeScope=runtime "-DoutputDirectory=$TOOLS/$1.part" &&
        mv "$TOOLS/$1.part" "$TOOLS/$1"
}

for server in ${*:-versitygw toxiproxy kafka hdfs}; do
    case $server in
    versitygw | toxiproxy) "$server" || missing="$missing $server(needs Go)" ;;
    kafka | hdfs) jars "$server" || missing="$missing $server(needs Java 17 and Maven)" ;;
    *) echo "stack/tools.sh: no server is called $server" >&2; exit 2 ;;
    esac
done
if [ -n "$missing" ]; then
    echo "not installed:$missing" >&2
    exit 1
fi
