#!/bin/sh
# The account again, where who has to wait does so for an event: the article's last program as it was meant.
set -- --event
. "$(dirname "$0")/scene-account.sh"
