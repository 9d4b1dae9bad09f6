#!/usr/bin/env bash
# Builds the program as it is meant to run in production: compiled once to see which of its code requests run,
# and once more with what was seen (profile-guided optimization).
#
#   bash deploy/build.sh [TARGET]      target/TARGET/release/cloakroom, after some 15 minutes on two cores
#
# What a request runs is spread over 300 KB of code otherwise, most of it between branches it never takes, and
# waiting for code is most of the time it takes: see benches/peers/results. Wants what `cargo build` does, curl,
# openssl, and rustup for the compiler's own llvm-profdata. The target's programs have to run here.
set -euo pipefail
umask 077
# It would be taken instead of what is set below.
unset CARGO_ENCODED_RUSTFLAGS

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# By the folder one is in, rustup and cargo choose what to build with.
cd "$root"
target=${1:-$(rustc -vV | sed -n 's/^host: //p')}
seconds=${TRAINING_SECONDS:-4}
work=$root/target/training
peers=$work/peers/release
seen=$work/seen
say() { printf '\n== %s\n' "$*"; }
give_up() { printf 'deploy/build.sh: %s\n' "$*" >&2; exit 1; }

started=()
end_all() {
    for pid in "${started[@]}"; do kill "$pid" 2>/dev/null || true; done
    for pid in "${started[@]}"; do wait "$pid" 2>/dev/null || true; done
    started=()
}
finish() {
    end_all
    rm -rf "$work/house" "$work/tls.key" "$work/tls.crt"
}
trap finish EXIT

find_profdata() {
    profdata=$(rustc --print sysroot)/lib/rustlib/$(rustc -vV | sed -n 's/^host: //p')/bin/llvm-profdata
    [ -x "$profdata" ] || rustup component add llvm-tools || true
    [ -x "$profdata" ] || give_up "the compiler's llvm-profdata is missing: rustup component add llvm-tools"
}

# build DIRECTORY FLAGS...: the release, by these flags. With --target, so that they are not those of what runs
# while it is built.
build() {
    local directory=$1
    shift
    RUSTFLAGS="${RUSTFLAGS:-} $*" cargo build --release --locked --manifest-path "$root/Cargo.toml" \
        --target "$target" --target-dir "$directory"
}

config() {
    cat <<TOML
listen = "127.0.0.1:$1"
health_listen = "127.0.0.1:$2"
threads = 1
$4
[store]
url = "sqlite:$work/house/cloakroom.db"
[keyring]
file = "$work/house/master.keys"
[servers.header]
url = "http://127.0.0.1:$3/header"
[servers.header.headers]
Authorization = "Bearer \${TOKEN}"
[servers.arguments]
url = "http://127.0.0.1:$3/arguments"
[servers.arguments.arguments]
token = { value = "\${TOKEN}", tools = ["create_issue"] }
TOML
}

# Users with the secrets the origin knows: user 7 has `secret-0007-…`.
users() {
    echo 'username,key_name,header.TOKEN,arguments.TOKEN'
    for user in $(seq 0 49); do
        local secret
        secret=$(printf 'secret-%04d-%s' "$user" "$(printf %s "$user" | sha256sum | cut -c-32)")
        printf 'user-%07d,training,%s,%s\n' "$user" "$secret" "$secret"
    done
}

furnish() {
    rm -rf "$work/house" && mkdir -p "$work/house"
    config 1 2 3 '' > "$work/house/plain.toml"
    users > "$work/house/users.csv"
    "$taught" keyring init --config "$work/house/plain.toml" > /dev/null
    "$taught" import "$work/house/users.csv" --from csv --client generic --out "$work/house/clients" \
        --config "$work/house/plain.toml" > /dev/null
    # In the order of their users: the origin refuses one user's secret in another's request.
    for file in "$work/house/clients/"*; do
        grep -oE -m 1 'clk_[0-9A-Za-z]{36}' "$file"
    done > "$work/house/keys.txt"
    rm -r "$work/house/clients"
    [ "$(wc -l < "$work/house/keys.txt")" = 50 ] || give_up 'the training has no keys for its users'
}

# A port where nobody listens.
free_port() {
    local port
    while port=$((20000 + RANDOM % 20000)); (: < "/dev/tcp/127.0.0.1/$port") 2> /dev/null; do :; done
    echo "$port"
}

# serve CONFIG HEALTH_PORT: until it is ready.
serve() {
    "$taught" serve --config "$1" > "$work/serve.log" 2>&1 &
    started+=($!)
    for _ in $(seq 200); do
        ! curl -sf -o /dev/null "http://127.0.0.1:$2/readyz" || return 0
        sleep 0.1
    done
    give_up "the program that is to be trained does not serve: $work/serve.log"
}

# ask KIND OPTIONS...: what the origin found wrong ends it all.
ask() {
    local said
    said=$("$peers/load" "$@" --keys "$work/house/keys.txt" --warmup 0.5 --seconds "$seconds")
    [[ $said == *'"wrong":0'* ]] || give_up "wrong answers: $said"
}

# What the process that served has seen, and no other.
keep_seen() {
    mkdir -p "$work/kept"
    mv "$seen"/*.profraw "$work/kept/$1.profraw" || give_up "the training left nothing behind: $work/serve.log"
}

# Requests as they are: mostly small, a few large; over HTTP and TLS; and streams of events.
lesson() {
    local port health origin tls=$1
    port=$(free_port) health=$(free_port) origin=$(free_port)
    "$peers/origin" --listen "127.0.0.1:$origin" --event-interval 20 > "$work/origin.log" &
    started+=($!)
    config "$port" "$health" "$origin" "$2" > "$work/house/lesson.toml"
    serve "$work/house/lesson.toml" "$health"
    local to="127.0.0.1:$port"
    ask calls --to "$to" --path /header/mcp --connections 32 $tls
    ask calls --to "$to" --path /arguments/mcp --connections 32 $tls
    ask calls --to "$to" --path /arguments/mcp --connections 2 --body-size 1048576 $tls
    ask streams --to "$to" --path /header/mcp --streams 100 $tls
    # In order: what was seen is written when it ends.
    end_all
}

certificate() {
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=localhost \
        -keyout "$work/tls.key" -out "$work/tls.crt" 2> /dev/null
}

find_profdata
rm -rf "$seen" "$work/kept"
mkdir -p "$seen"

say 'the program that is trained'
build "$work" "-Cprofile-generate=$seen"
taught=$work/$target/release/cloakroom
cargo build --release --locked --manifest-path "$root/benches/peers/Cargo.toml" --target-dir "$work/peers"

say 'training'
furnish
rm -f "$seen"/*
lesson '' ''
keep_seen plain
certificate
lesson --tls "tls = { cert_file = \"$work/tls.crt\", key_file = \"$work/tls.key\" }"
keep_seen tls
# By another name when it says something else: cargo looks at the flags alone.
"$profdata" merge -o "$work/merged" "$work/kept"
learned=$work/$(sha256sum "$work/merged" | cut -c-16).profdata
mv "$work/merged" "$learned"

say 'the program'
build "$root/target" "-Cprofile-use=$learned -Cllvm-args=-pgo-warn-missing-function=false"
say "$root/target/$target/release/cloakroom"
