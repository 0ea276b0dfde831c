#!/bin/sh
# Writes requirements/*.txt from pyproject.toml: hashed, for all platforms and every Python from 3.11, without
# addresses. dev.txt comes first and binds the others to its versions, so that what ships is what was tested.
# Versions already locked are kept where they still fit; UPGRADE=1 takes the newest instead.
set -eu
cd "$(dirname "$0")/.."

lock() { # lock NAME OPTION...
    name=$1
    shift
    .venv-lock/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate \
        --no-emit-index-url --no-emit-find-links --custom-compile-command "make lock" \
        ${UPGRADE:+--upgrade} --output-file "requirements/$name.txt" "$@"
}

lock dev pyproject.toml --extra all --group dev
lock all pyproject.toml --extra all --constraints requirements/dev.txt
lock core pyproject.toml --constraints requirements/dev.txt
lock gpu pyproject.toml --extra all --extra gpu --no-emit-package onnxruntime --constraints requirements/dev.txt
lock build --group pyproject.toml:build --constraints requirements/dev.txt
lock clients --group pyproject.toml:clients
lock kserve --group pyproject.toml:kserve
lock mlserver --group pyproject.toml:mlserver
lock bentoml --group pyproject.toml:bentoml
lock litserve --group pyproject.toml:litserve
lock ray-serve --group pyproject.toml:ray-serve
lock fuzz --group pyproject.toml:fuzz
lock deploy --group pyproject.toml:deploy
lock uv --group pyproject.toml:lock

if grep -nE '://|^--|/' requirements/*.txt; then
    echo "turnout: the lines above are addresses, paths or options, which a lock must not hold" >&2
    exit 1
fi
