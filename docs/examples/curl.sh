#!/bin/sh
# A job from upload to picture with curl and nothing else.
#   sh curl.sh bridge.jpg starry.jpg painting.png
set -eu
content=$1 style=$2 painting=$3
url=${IMPASTO_URL:-http://127.0.0.1:8000}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# The token goes by a file: arguments can be seen by every user of the machine.
: > "$work/auth"
if [ -n "${IMPASTO_TOKEN:-}" ]; then echo "header = \"Authorization: Bearer $IMPASTO_TOKEN\"" > "$work/auth"; fi
ask() { curl --config "$work/auth" --silent --show-error --fail-with-body --retry 5 "$@"; }
# The first value of a name in a JSON document that has one name a line or many.
value() { sed -n "s/.*\"$1\": *\"\\([^\"]*\\)\".*/\\1/p" | head -n 1; }

upload() { ask "$url/v1/uploads" -F "file=@$1" | tr ',' '\n' | value image; }
body="{\"content\": \"$(upload "$content")\", \"styles\": [\"$(upload "$style")\"], \"spec\": ${IMPASTO_SPEC:-{\}}}"

# The same key in a further attempt is the same job.
ask "$url/v1/jobs" -H 'Content-Type: application/json' -H "Idempotency-Key: $(date +%s)-$$" \
  --dump-header "$work/head" --output "$work/job" -d "$body" || { cat "$work/job" >&2; exit 1; }
job=$(tr -d '\r' < "$work/head" | sed -n 's/^[Ll]ocation: //p')

# The service holds its answer until the job has ended, for up to 30 seconds at a time.
while :; do
  ask "$job" -H 'Prefer: wait=30' --output "$work/job"
  status=$(tr ',' '\n' < "$work/job" | value status)
  case $status in
    succeeded) break ;;
    queued | processing) sleep 1 ;;
    *) cat "$work/job" >&2; exit 1 ;;
  esac
done
ask --location "$job/output" --output "$painting"
echo "$painting"
