#!/usr/bin/env bash
# A Redis that listens on loopback at the server, used from the client's machine
# through -L. Both ends run here; needs Go and Debian's redis-server.
set -euo pipefail
cd "$(dirname "$0")/../.."
command -v redis-server >/dev/null || { echo "redis-server is missing: apt install redis-server" >&2; exit 1; }

dir=$(mktemp -d)
started=()
finish() {
  kill "${started[@]}" 2>/dev/null || true
  wait
  rm -rf "$dir"
}
trap finish EXIT

await() { # FILE PATTERN: prints what the pattern's group matched
  for _ in $(seq 200); do
    found=$(sed -nE "s/.*$2.*/\\1/p" "$1")
    [ -n "$found" ] && { echo "$found"; return; }
    sleep 0.05
  done
  cat "$1" >&2
  exit 1
}

go build -o "$dir" ./cmd/...
redis=${REDIS_PORT:-16379}

redis-server --port "$redis" --bind 127.0.0.1 --save '' --dir "$dir" >"$dir/redis.log" &
started+=($!)
await "$dir/redis.log" "(Ready to accept) connections" >/dev/null

"$dir/tunnel-server" --listen 127.0.0.1:0 --state-dir "$dir/server" \
  --allow-forward "127.0.0.1:$redis" >"$dir/server.log" &
started+=($!)
tunnel=$(await "$dir/server.log" "listens on ([0-9.:]+)")

"$dir/tunnel-client" --server "$tunnel" --key-file "$dir/server/key" --state-dir "$dir/client" \
  -L "redis=0:127.0.0.1:$redis" >"$dir/client.log" &
started+=($!)
here=$(await "$dir/client.log" 'Forward "redis" is up: 127.0.0.1:([0-9]+)')

redis-cli -p "$here" set greeting "hello through the tunnel"
redis-cli -p "$here" get greeting
redis-benchmark -p "$here" -t set,get -n 2000 -c 20 -q
