#!/bin/sh
# Makes sure that a virtual environment holds what the named locks say, and does nothing when it already does.
#
#   sh scripts/venv.sh DIR LOCK...     LOCK is requirements/LOCK.txt, or "turnout" for this project, editable
#   sh scripts/venv.sh --which         print the Python that would be used
#
# PYTHON names the interpreter; without it the first one that is new enough and has a venv module is taken.
set -eu
cd "$(dirname "$0")/.."

CANDIDATES="python3 python3.11 python3.12 python3.13 python3.14 python"
OLDEST="3, 11"

main() {
    if [ "$1" = --which ]; then
        pick_python
        echo "$python"
        return
    fi
    dir=$1
    stamps=$dir/.installed
    shift
    ensure_environment
    for name in "$@"; do
        is_installed "$name" || install "$name"
    done
}

ensure_environment() {
    if [ ! -e "$dir/bin/python" ]; then
        build "making $dir"
    elif ! is_new_enough "$dir/bin/python"; then
        build "$dir is broken or its Python is too old; making it anew"
    elif [ -e "$stamps/place" ] && [ "$(cat "$stamps/place")" != "$PWD" ]; then
        build "$dir was made for another folder; making it anew"
    elif [ -n "${PYTHON:-}" ] && [ "$(version_of "$PYTHON")" != "$(version_of "$dir/bin/python")" ]; then
        build "$dir has Python $(version_of "$dir/bin/python"), not that of $PYTHON; making it anew"
    elif ! "$dir/bin/python" -c 'import pip' 2>/dev/null; then
        build "$dir has no pip; making it anew"
    fi
}

build() {
    pick_python
    say "$1 with Python $(version_of "$python")"
    "$python" -m venv --clear --prompt turnout "$dir"
    mkdir -p "$stamps"
    echo "$PWD" >"$stamps/place"
}

install() {
    mkdir -p "$stamps"
    forget_stale "$1"
    if [ "$1" = turnout ]; then
        pip --no-deps --no-build-isolation --editable .
    else
        say "installing requirements/$1.txt into $dir, which takes a minute or a few the first time"
        pip --require-hashes --only-binary :all: --requirement "requirements/$1.txt"
    fi
    fingerprint "$1" >"$stamps/$1"
}

# An installation may replace what an older lock put there, so only stamps that still hold may stay.
forget_stale() {
    rm -f "$stamps/$1"
    for stamp in "$stamps"/*; do
        stamped=$(basename "$stamp")
        [ "$stamped" = place ] || is_stamped "$stamped" || rm -f "$stamp"
    done
}

# dev.txt holds all that core.txt and build.txt do, in the same versions (tests/test_locks.py).
is_installed() {
    is_stamped "$1" && return
    case $1 in
    core | build) is_stamped dev ;;
    *) return 1 ;;
    esac
}

is_stamped() {
    [ -e "$stamps/$1" ] && [ "$(cat "$stamps/$1")" = "$(fingerprint "$1")" ]
}

fingerprint() {
    if [ "$1" = turnout ]; then
        cksum <pyproject.toml
    else
        cksum <"requirements/$1.txt"
    fi
}

pip() {
    PIP_USER=0 "$dir/bin/python" -m pip install --quiet --no-input --disable-pip-version-check "$@"
}

pick_python() {
    lacks_venv=
    if [ -n "${PYTHON:-}" ]; then
        set -- "$PYTHON"
    else
        # shellcheck disable=SC2086 # a list of words
        set -- $CANDIDATES
    fi
    for python in "$@"; do
        is_new_enough "$python" || continue
        "$python" -c 'import ensurepip, venv' 2>/dev/null && return
        lacks_venv=${lacks_venv:-$python}
    done
    if [ -n "$lacks_venv" ]; then
        fail "$lacks_venv has no venv module; cure: apt install python3-venv (or what your system calls it)"
    elif [ -n "${PYTHON:-}" ]; then
        fail "$PYTHON is not a Python 3.11 or later; cure: name one that is, as in make PYTHON=python3.11"
    fi
    fail "found no Python 3.11 or later; cure: apt install python3 python3-venv, or make PYTHON=/path/to/python3"
}

is_new_enough() {
    "$1" -c "import sys; sys.exit(sys.version_info < ($OLDEST))" 2>/dev/null
}

version_of() {
    "$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null || echo unknown
}

say() {
    echo "turnout: $1"
}

fail() {
    echo "turnout: $1" >&2
    exit 1
}

main "$@"
