#!/usr/bin/env bash
# Verifies the commit of a CI job: in GitLab, Jenkins or anywhere else with bash and Python 3.11. Run it in the clone; it passes all arguments
# to `dvlite verify`, for example:  examples/ci/verify.sh --remote      examples/ci/verify.sh --range origin/main..HEAD
#
#   DVLITE_INSTALL    what pip installs if dvlite is not on PATH: a release (dvlite==1.0), a git URL, a folder
#   DVLITE_REPORTS    the folder for verify.xml (JUnit), verify.html and verify.md (default: `reports`)
#   DVLITE_CACHE_DIR  a folder that the service keeps between jobs; only --rerun needs data
#   DVLITE_TRUST      the endpoint or folder of the remote, if the committed config names one: a job has no user who could approve it
set -euo pipefail
reports=${DVLITE_REPORTS:-reports}

if ! command -v dvlite >/dev/null; then
  if [ -z "${DVLITE_INSTALL:-}" ]; then
    echo "error: dvlite is not on PATH; set DVLITE_INSTALL to what pip should install" >&2
    exit 2
  fi
  own=$(mktemp -d) # a separate environment: the Python that the stages use is not changed
  trap 'rm -rf "$own"' EXIT
  python3 -m venv "$own/venv"
  "$own/venv/bin/pip" install --quiet --disable-pip-version-check "$DVLITE_INSTALL"
  mkdir "$own/bin"
  ln -s "$own/venv/bin/dvlite" "$own/bin/dvlite"
  PATH=$own/bin:$PATH
fi

rm -f "$reports"/verify.xml "$reports"/verify.html "$reports"/verify.md # do not leave reports of an earlier job
code=0
dvlite verify --junit "$reports/verify.xml" --html "$reports/verify.html" --md "$reports/verify.md" "$@" || code=$?
case $code in
  0) said="verified" ;;
  1) said="verify has findings" ;;
  3) said="something could not be checked, so this is not a pass" ;;
  4) said="a stage failed" ;;
  *) said="dvlite verify exited with $code" ;;
esac
if [ -f "$reports/verify.md" ]; then echo "$said; reports: $reports"; else echo "$said; no reports were written"; fi
if [ "$code" -eq 2 ] && [ "$(git rev-parse --is-shallow-repository)" = true ]; then
  echo "the clone is shallow: --range and --rev need their commits (GitHub: fetch-depth: 0, GitLab: GIT_DEPTH: 0)"
fi
exit "$code"
