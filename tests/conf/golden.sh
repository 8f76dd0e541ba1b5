#!/bin/sh
# Golden files of the configuration. For each cases/NAME.conf the output of
# confdump, that of chimpd -T or the error, must equal NAME.ok; what is printed
# must be read again as the same. A line "# env: NAME=VALUE" at the top of a
# file sets a variable; nothing else is set.
#
# golden.sh --accept writes the .ok files anew: then read the diff.
set -u

here=$(cd "$(dirname "$0")/cases" && pwd)
dump=${CONFDUMP:-$PWD/tests/conf/confdump}
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
failed=0
count=0

run() { # FILE, with the environment of $cases
	set -- "$1"
	while IFS= read -r variable; do
		set -- "$@" "$variable"
	done <<-END
		$(sed -n 's/^# env: //p' "$cases")
	END
	file=$1
	shift
	env -i ${ASAN_OPTIONS:+"ASAN_OPTIONS=$ASAN_OPTIONS"} \
		${1:+"$@"} "$dump" "$file" | sed "s|$here|@DIR@|g"
}

fail() {
	echo "FAIL: $1"
	failed=$((failed + 1))
}

cd "$here" || exit 1
for cases in *.conf; do
	name=${cases%.conf}
	count=$((count + 1))
	run "$cases" >"$tmp/out" 2>&1
	if [ "${1:-}" = --accept ]; then
		cp "$tmp/out" "$name.ok"
	fi
	diff -u "$name.ok" "$tmp/out" || fail "$name"
	grep -q '^error: ' "$tmp/out" && continue
	# Only the first line, which names the file, may differ. Where a
	# password was masked it is masked again.
	sed "s|@DIR@|$here|g" "$tmp/out" >"$tmp/again.conf"
	run "$tmp/again.conf" >"$tmp/again" 2>&1
	sed 1d "$tmp/out" >"$tmp/one"
	sed 1d "$tmp/again" | diff -u "$tmp/one" - ||
		fail "$name: -T is not read again as the same"
done
# What is shipped says what would be without it.
sed 1d accept-shipped.ok >"$tmp/shipped"
sed 1d accept-sections-without-keys.ok | diff -u "$tmp/shipped" - ||
	fail "etc/chimpd.conf: not the defaults"

echo "golden: $count files, $failed failed"
[ "$failed" -eq 0 ] && [ "$count" -gt 50 ]
