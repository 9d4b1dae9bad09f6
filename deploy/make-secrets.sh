#!/bin/sh
# Makes what Cloakroom and its Redis have to share, in a new folder for your eyes alone:
#
#   deploy/make-secrets.sh FOLDER REDIS_HOST
#
#   FOLDER/users.acl   for Redis: a user `cloakroom` who may do what Cloakroom does and nothing else, known
#                      by the SHA-256 of a random password, and a user `probe` who may only ping
#   FOLDER/store-url   for Cloakroom: redis://cloakroom:PASSWORD@REDIS_HOST:6379/0
#   FOLDER/store.env   the same as a variable, for compose
#
# The keyring is another command's: cloakroom --config FOLDER/none.toml keyring init
set -eu
umask 077

if [ $# -ne 2 ]; then
    sed -n '4p' "$0" | cut -c3- >&2
    exit 2
fi
folder=$1
host=$2
if [ -e "$folder/users.acl" ] || [ -e "$folder/store-url" ]; then
    echo "make-secrets.sh: $folder has secrets already, and they are not overwritten" >&2
    exit 1
fi
mkdir -p "$folder"

password=$(head -c 32 /dev/urandom | od -An -v -tx1 | tr -d ' \n')
digest=$(printf %s "$password" | sha256sum | cut -d' ' -f1)

cat >"$folder/users.acl" <<EOF
user default off
user probe on nopass resetkeys resetchannels -@all +ping
user cloakroom on #$digest resetchannels -@all ~cloakroom:* +get +set +getrange +del +zadd +zrem +zrangebylex +xadd +time +eval +evalsha +ping +role +wait +info +client|tracking +cluster|slots +asking +select
EOF
printf 'redis://cloakroom:%s@%s:6379/0' "$password" "$host" >"$folder/store-url"
printf 'CLOAKROOM_STORE__URL=redis://cloakroom:%s@%s:6379/0\n' "$password" "$host" >"$folder/store.env"
echo "made users.acl, store-url and store.env in $folder" >&2
