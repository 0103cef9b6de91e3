#!/bin/bash
# The kill table for Python, beside multiprocessing's.
set -u
. "$SHMKIT_SRCDIR/tests/python/python.sh"
exec $python kills.py
