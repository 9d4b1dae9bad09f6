#!/usr/bin/env bash
# Everything that is tested, in one command: installs what is missing, checks the Rust code, then runs
# real clients, a real server and the official conformance suites around the proxy.
#
#   bash tests/run.sh [--only rust|deploy|admin|peers]
#
# Wants Rust, Node with npm, and Python 3.11 or newer; the rest comes from apt (as root or with sudo),
# npm and PyPI, in pinned versions. What it fetches goes to tests/peers/.work, which git ignores.
# On two cores a second run takes about 11 minutes, a cold one 20 to 25.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(dirname "$here")
peers=$here/peers
work=$peers/.work
binary=${CARGO_TARGET_DIR:-$root/target}/debug/cloakroom
only=
child=
ahead=
ahead_log=
count=
summary=()
started=$SECONDS

say() { printf '\n== %s\n' "$*"; }
give_up() { printf 'tests/run.sh: %s\n' "$*" >&2; exit 1; }

# Ends with the parts, and a count alone on the last line. The count is that of the peer checks; a
# part that fails before them counts as one.
counted='0 passed, 1 failed'
finish() {
    local code=$?
    trap - EXIT
    # Of what has ended by itself the number may be another's.
    [ ! -s "$ahead_log.code" ] || ahead=
    local group
    for group in $child $ahead; do
        kill -- "-$group" 2>/dev/null || true
        wait "$group" 2>/dev/null || true
    done
    [ -z "$ahead_log" ] || rm -f "$ahead_log" "$ahead_log.code"
    if [ -n "$count" ]; then
        [ ! -s "$count" ] || counted=$(cat "$count")
        rm -f "$count"
    fi
    if [ "${#summary[@]}" -gt 0 ]; then
        say "summary, after $((SECONDS - started)) s"
        printf '%s\n' "${summary[@]}"
    fi
    printf '\n%s\n' "$counted"
    exit "$code"
}

# part NAME COMMAND...: run it as a process group of its own, which a signal to this script ends too.
set -m
part() {
    local name=$1 from=$SECONDS code=0
    shift
    say "$name"
    "$@" &
    child=$!
    wait "$child" || code=$?
    child=
    local took="$((SECONDS - from)) s"
    if [ "$code" -eq 0 ]; then
        summary+=("  ok      $name ($took)")
    else
        summary+=("  FAILED  $name ($took, exit $code); what comes after it was not run")
        exit 1
    fi
}

# ahead COMMAND...: begin it beside the parts that come, for the compiler leaves a core idle now and then.
ahead() {
    ahead_log=$(mktemp)
    (
        trap 'echo "$?" >"$ahead_log.code"' EXIT
        "$@"
    ) >"$ahead_log" 2>&1 &
    ahead=$!
}
# Wait until it is done, as a part; at most once.
catch_up() {
    [ -n "$ahead" ] || return 0
    part 'installation' caught_up
    ahead=
}
caught_up() {
    while [ ! -s "$ahead_log.code" ] && kill -0 "$ahead" 2>/dev/null; do sleep 0.2; done
    cat "$ahead_log"
    return "$(cat "$ahead_log.code" || echo 1)"
}

while [ $# -gt 0 ]; do
    case $1 in
        --only)
            only=${2-}
            case $only in rust | deploy | admin | peers) ;; *) give_up '--only takes rust, deploy, admin or peers' ;; esac
            shift 2
            ;;
        -h | --help)
            sed -n '2,9s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"
            exit 0
            ;;
        *) give_up "unknown option $1; see --help" ;;
    esac
done

trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

have() { command -v "$1" >/dev/null 2>&1; }

# as_root COMMAND...: as root, which some machines need `sudo` for.
as_root() {
    if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo "$@"; fi
}

install_packages() {
    local wanted=()
    have cc && have make || wanted+=(build-essential)
    have redis-server || wanted+=(redis-server)
    # For tests/deploy: systemd-analyze is the only thing of it that is run.
    have systemd-analyze || wanted+=(systemd)
    [ -e /etc/ssl/certs/ca-certificates.crt ] || wanted+=(ca-certificates)
    have npm || wanted+=(npm)
    have slowhttptest || wanted+=(slowhttptest)
    have valgrind || wanted+=(valgrind)
    have strace || wanted+=(strace)
    python3 -c 'import ensurepip, venv' 2>/dev/null || wanted+=(python3-venv)
    [ "${#wanted[@]}" -gt 0 ] || { echo 'nothing is missing'; return; }
    have apt-get || give_up "please install: ${wanted[*]}"
    [ "$(id -u)" -eq 0 ] || have sudo || give_up "run as root, or install first: ${wanted[*]}"
    echo "installing ${wanted[*]}"
    # A server that the package would start is not wanted: the tests start their own.
    as_root apt-get update -qq -o Acquire::Retries=5
    as_root env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 \
        apt-get install -y -qq -o Acquire::Retries=5 --no-install-recommends "${wanted[@]}" >/dev/null
}

# What was made from lock files is made anew whenever one of them changed or the folder was moved:
#   made NAME FILE... || { make it; stamp NAME FILE...; }
stamp_of() { cat "${@:2}" <(echo "$work" && python3 --version && cargo --version) | sha256sum; }
made() { [ "$(cat "$work/stamp-$1" 2>/dev/null)" = "$(stamp_of "$@")" ] && echo "$1: up to date"; }
stamp() { stamp_of "$@" >"$work/stamp-$1"; }

# venv NAME REQUIREMENTS: a Python environment of exactly these packages.
venv() {
    rm -rf "${work:?}/$1"
    python3 -m venv "$work/$1"
    PIP_CACHE_DIR=$work/cache/pip "$work/$1/bin/pip" install --quiet --retries 10 --disable-pip-version-check \
        --no-deps --requirement "$2"
    "$work/$1/bin/pip" check
}

install_node_modules() {
    rm -rf "$work/node_modules"
    cp "$peers/package.json" "$peers/package-lock.json" "$work/"
    # Node's own engine check is about the npm that installs; the suites run on the node installed here.
    (cd "$work" && npm ci --cache "$work/cache/npm" --fetch-retries=5 --ignore-scripts --no-audit --no-fund --loglevel error)
}

install_peers() {
    mkdir -p "$work"
    made venv "$peers/requirements.txt" || {
        venv venv "$peers/requirements.txt"
        stamp venv "$peers/requirements.txt"
    }
    made atlassian "$peers/requirements-atlassian.txt" || {
        venv atlassian "$peers/requirements-atlassian.txt"
        stamp atlassian "$peers/requirements-atlassian.txt"
    }
    made node_modules "$peers/package-lock.json" || {
        install_node_modules
        stamp node_modules "$peers/package-lock.json"
    }
    local rust=("$peers/rmcp/Cargo.toml" "$peers/rmcp/Cargo.lock" "$peers/rmcp/src/main.rs")
    made rmcp "${rust[@]}" || {
        cargo build --quiet --locked --manifest-path "${rust[0]}" --target-dir "$work/rmcp"
        stamp rmcp "${rust[@]}"
    }
    rm -rf "$work/cache"
}

check_tools() {
    have cargo || give_up 'cargo is missing: install Rust from https://rustup.rs'
    python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' || give_up 'Python 3.11 or newer is needed'
    if [ -n "$only" ] && [ "$only" != peers ]; then return; fi
    have node || give_up 'node is missing: install Node.js'
}

# What the compiler wrote is put on disk before tests wait for the disk.
build_tests() { cargo test --quiet --no-run && sync -f "$root"; }
# Examples are run by the tests. Many of these wait for something that takes its time, so more of them run at
# once than there are cores.
cargo_test() { RUST_TEST_THREADS=${RUST_TEST_THREADS:-$(($(nproc) + 1))} cargo test --quiet; }
# As whoever installs it builds it: the tests' own dependencies switch features of others on.
build_alone() { cargo check --quiet --locked --lib --bins; }
slow_clients() { exec python3 "$here/slow.py"; }
instructions() { exec python3 "$here/instructions.py"; }
children() { exec python3 "$here/children/run.py"; }

# deny.toml by what is here; by cargo-deny too where it is installed. It takes longer to build than all of
# this, and its database of advisories comes from GitHub.
deny() {
    python3 tests/deny.py
    if have cargo-deny; then
        cargo deny --offline check bans licenses sources
    fi
}

install_deploy() {
    mkdir -p "$work"
    made deploy "$here/deploy/requirements.txt" || {
        venv deploy "$here/deploy/requirements.txt"
        stamp deploy "$here/deploy/requirements.txt"
    }
}
install_admin() {
    mkdir -p "$work"
    made admin "$here/admin/requirements.txt" || {
        venv admin "$here/admin/requirements.txt"
        stamp admin "$here/admin/requirements.txt"
    }
}
wanted() { [ -z "$only" ] || [ "$only" = "$1" ]; }
# install: what the parts need that are wanted.
install() {
    if wanted deploy; then install_deploy; fi
    if wanted admin; then install_admin; fi
    if wanted peers; then install_peers; fi
}
run_admin() {
    PYTHONDONTWRITEBYTECODE=1 CLOAKROOM_BIN="$CLOAKROOM_BIN" \
        exec "$work/admin/bin/python" "$here/admin/run.py" --count "$1"
}
# As root: it mounts, and becomes the user of the image.
run_deploy() {
    as_root env PYTHONDONTWRITEBYTECODE=1 CLOAKROOM_BIN="$CLOAKROOM_BIN" \
        "$work/deploy/bin/python" "$here/deploy/run.py" --count "$1"
}
run_peers() { PYTHONDONTWRITEBYTECODE=1 exec "$work/venv/bin/python" "$peers/run.py" --count "$1"; }

cd "$root"
check_tools
part 'system packages' install_packages
[ "$only" = rust ] || ahead install

if [ -z "$only" ] || [ "$only" = rust ]; then
    part 'cargo fmt' cargo fmt --check
    part 'cargo clippy' cargo clippy --quiet --all-targets -- -D warnings
    part 'deny.toml' deny
    part 'cargo check, without what tests need' build_alone
    part 'cargo test, compiled' build_tests
    # Tests that wait for something have the machine to themselves.
    catch_up
    part 'cargo test' cargo_test
    # What the tests used: to build it once more without their features takes minutes.
    export CLOAKROOM_BIN=$binary
    part 'slow clients' slow_clients
    part 'instructions per request' instructions
    part 'children' children
fi

if [ "$only" = rust ]; then
    counted='9 passed, 0 failed'
    exit 0
fi

if [ -n "$only" ]; then
    part 'cargo build' cargo build --quiet --locked --bin cloakroom
    export CLOAKROOM_BIN=$binary
fi

catch_up

if wanted deploy; then
    [ "$only" != deploy ] || count=$(mktemp)
    part 'deploy' run_deploy "${count:-/dev/null}"
fi

if wanted admin; then
    [ "$only" != admin ] || count=$(mktemp)
    part 'admin' run_admin "${count:-/dev/null}"
fi

if ! wanted peers; then
    exit 0
fi

count=$(mktemp)
part 'peers' run_peers "$count"
exit 0
