#!/bin/bash
# ssh, as Ansible calls it, that hands on a bounded part of what a site sends: Ansible's connection plugin keeps all of
# it in memory, several times over. Beyond the bound the call fails, with a sentence of its own.
#
# Standard output passes through dd, which keeps nothing back (head would hold the line that sudo's success is seen by).
# Standard error goes to a file of bounded size: a shared connection that stays behind keeps it open, so that nothing
# could wait for the end of a pipe. The file goes with the work directory of the batch.
set -o pipefail
stdout_bytes=1048576
stderr_kib=64
too_much=90

errors="$EDGEMGR_SSH_ERRORS/$$"
(
    ulimit -f "$stderr_kib"
    exec ssh "$@" 2>"$errors"
) | {
    dd bs=65536 iflag=count_bytes count="$stdout_bytes" status=none
    if IFS= read -r -d '' -n 1 _; then exit "$too_much"; fi
}
status=$?
if [ "$status" != 0 ] && [ "$status" != "$too_much" ] && [ "$(wc -c <"$errors")" -ge $((stderr_kib * 1024)) ]; then
    status=$too_much # the kernel ended whoever wrote beyond (SIGXFSZ): this ssh, or the shared connection behind it
fi
if [ "$status" = "$too_much" ]; then
    echo "edgemgr: the site sent more than it may ($stdout_bytes bytes)" >&2
fi
if [ -s "$errors" ]; then cat "$errors" >&2; fi
exit "$status"
