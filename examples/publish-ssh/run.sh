#!/usr/bin/env bash
# Publishes an SSH server through a tunnel and runs a command over it, all on this
# machine and for this user only: run.sh [COMMAND...]. Everything is made in a
# temporary directory and gone afterwards.
#
# It wants OpenSSH's server and client, and the two programs in BIN; without BIN it
# builds them.
set -euo pipefail

repository=$(cd "$(dirname "$0")/../.." && pwd)
dir=$(mktemp -d)
running=()
cleanup() {
  [ ${#running[@]} = 0 ] || { kill "${running[@]}" 2>/dev/null || true; wait "${running[@]}" 2>/dev/null || true; }
  rm -rf "$dir"
}
trap cleanup EXIT

if [ -z "${BIN:-}" ]; then
  BIN=$dir
  (cd "$repository" && go build -o "$BIN" ./cmd/tunnel-server ./cmd/tunnel-client)
fi

# says FILE SED-EXPRESSION: what a program's log says, once it does.
says() {
  local found
  for _ in $(seq 200); do
    found=$(sed -nE "$2" "$1" | head -n 1)
    if [ -n "$found" ]; then
      echo "$found"
      return
    fi
    sleep 0.05
  done
  cat "$1" >&2
  return 1
}

# An SSH server on loopback, which takes one key and nothing else.
sshd=$(PATH=$PATH:/usr/sbin:/sbin command -v sshd) || { echo "sshd is not installed" >&2; exit 1; }
[ "$(id -u)" != 0 ] || mkdir -p /run/sshd # it wants that of root
for name in host user; do ssh-keygen -q -t ed25519 -N '' -f "$dir/$name"; done
cp "$dir/user.pub" "$dir/authorized_keys"
for _ in $(seq 20); do
  port=$((20000 + RANDOM % 10000))
  cat >"$dir/sshd_config" <<END
ListenAddress 127.0.0.1:$port
HostKey $dir/host
AuthorizedKeysFile $dir/authorized_keys
PidFile none
PasswordAuthentication no
KbdInteractiveAuthentication no
StrictModes no
END
  "$sshd" -D -e -f "$dir/sshd_config" >"$dir/sshd.log" 2>&1 &
  pid=$!
  if says "$dir/sshd.log" 's/.*(listening on|already in use|Cannot bind).*/\1/p' | grep -q listening; then
    running+=("$pid")
    break
  fi
  port= # taken
done
[ -n "$port" ] || { cat "$dir/sshd.log" >&2; exit 1; }

# The tunnel: on two machines these are the same two commands.
STATE_DIRECTORY=$dir/server "$BIN/tunnel-server" --listen 127.0.0.1:0 --bind 127.0.0.1 >"$dir/server.log" 2>&1 &
running+=($!)
server=$(says "$dir/server.log" 's/.* listens on ([^,]+),.*/\1/p')
TUNNEL_KEY=$(STATE_DIRECTORY=$dir/server "$BIN/tunnel-server" key show)
export TUNNEL_KEY
STATE_DIRECTORY=$dir/client "$BIN/tunnel-client" --server "$server" -R "ssh=0:127.0.0.1:$port" >"$dir/client.log" 2>&1 &
running+=($!)
public=$(says "$dir/client.log" 's/.*Service "ssh" is up: [^ ]*:([0-9]+) leads.*/\1/p')

# A user of the public port.
echo "[127.0.0.1]:$public $(cat "$dir/host.pub")" >"$dir/known_hosts"
ssh -F none -i "$dir/user" -o IdentitiesOnly=yes -o UserKnownHostsFile="$dir/known_hosts" \
  -o StrictHostKeyChecking=yes -o BatchMode=yes -p "$public" "$(id -un)@127.0.0.1" \
  "${@:-echo hello through the tunnel}"
