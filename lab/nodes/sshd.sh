#!/bin/sh
# sshd of a node. Who logs in finds the programs that the node itself finds, and nothing of the host's: bash
# would read ~/.bashrc for a login through SSH, at the first shell level alone.
exec /usr/sbin/sshd -D -e -f /etc/lab/sshd_config \
    -o "SetEnv SHLVL=1 PATH=$PATH PYTHONPATH=${PYTHONPATH:-/}"
