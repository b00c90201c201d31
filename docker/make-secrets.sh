#!/bin/sh
# Makes the secrets of compose.yaml, in the folder `secrets` beside this file or in the one that is named. What exists
# it leaves alone. Containers read the files under users of their own, so anybody may read them; but only who runs this
# may enter the folder.
set -eu

folder=${1:-$(dirname "$0")/secrets}
mkdir -p "$folder"
chmod 700 "$folder"
cd "$folder"

random() { od -An -N32 -tx1 /dev/urandom | tr -d ' \n'; }

# keep NAME: writes standard input to the file NAME, unless it exists
keep() {
    if [ -e "$1" ]; then
        cat > /dev/null
    else
        cat > "$1.new"
        chmod 444 "$1.new"
        mv "$1.new" "$1"
        echo "made $folder/$1"
    fi
}

random | keep jwt_secret
random | keep postgres_password
random | keep valkey_password
printf 'postgresql://collab:%s@postgres/collab' "$(cat postgres_password)" | keep database
printf 'redis://:%s@valkey' "$(cat valkey_password)" | keep redis
printf 'requirepass %s\nmaxmemory 256mb\nmaxmemory-policy allkeys-lru\nsave ""\nappendonly no\n' \
    "$(cat valkey_password)" | keep valkey_config
