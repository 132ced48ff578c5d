#!/usr/bin/env bash
# What `make demo` runs. First data: tracks a real data set, pushes it to a folder remote, clones it as a colleague, compares.
# Then models (demo-digits.sh): runs the pipeline of examples/digits, and asks which data made which model.
# Everything happens in a temporary folder, with a home of its own; nothing of the user's is read or written.
set -euo pipefail

examples=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
place=$(mktemp -d "${TMPDIR:-/tmp}/dvlite-demo.XXXXXX")
trap 'rm -rf "$place"' EXIT

while read -r name; do unset "$name"; done < <(compgen -e | grep -E '^(GIT|DVLITE|XDG)_' || true)
export HOME="$place/home" XDG_CONFIG_HOME="$place/home/.config" XDG_CACHE_HOME="$place/home/.cache"
export GIT_CONFIG_NOSYSTEM=1 GIT_TERMINAL_PROMPT=0
export GIT_AUTHOR_NAME="Ada Author" GIT_AUTHOR_EMAIL=ada@example.com
export GIT_COMMITTER_NAME="$GIT_AUTHOR_NAME" GIT_COMMITTER_EMAIL="$GIT_AUTHOR_EMAIL"
mkdir -p "$HOME"

say() { printf '\n# %s\n' "$*"; }
run() { # shows a command, then runs it
  local word line='$'
  for word; do
    case $word in *[[:space:]]*) line+=" \"$word\"" ;; *) line+=" $word" ;; esac
  done
  printf '%s\n' "$line"
  "$@"
}

say "a real data set: the files that the package scikit-learn ships"
sklearn=$(python -c 'import importlib.util as u; print(u.find_spec("sklearn").submodule_search_locations[0])')
run git init --quiet --initial-branch=main "$place/flowers"
cd "$place/flowers"
mkdir data
cp -R "$sklearn/datasets/data" data/tables
cp -R "$sklearn/datasets/images" data/images
find data -name '*.py' -delete
find data -name __pycache__ -type d -prune -exec rm -rf {} +
printf '%s files, %s KiB\n' "$(find data -type f | wc -l | tr -d ' ')" "$(du -sk data | cut -f1)"

say "the author tracks it and pushes it to a store in a folder"
run dvlite init
run dvlite add data/tables data/images
run dvlite remote add "$place/store"
run git commit --quiet -m "Track tables and images"
run dvlite status
run dvlite push
printf 'the store: %s objects, %s KiB\n' "$(find "$place/store" -type f | wc -l | tr -d ' ')" "$(du -sk "$place/store" | cut -f1)"

say "a colleague clones it: git clone, then the data"
cd "$place"
run dvlite clone "$place/flowers" colleague

say "the author makes a change, the colleague pulls it"
cd "$place/flowers"
printf '0,0,0,0,0\n' >>data/tables/iris.csv
rm data/images/flower.jpg
run dvlite diff --stat
run dvlite add -u
run git commit --quiet -m "One more iris, one flower less"
run dvlite push
cd "$place/colleague"
run git pull --quiet
run dvlite pull

say "the same bytes on both sides?"
cd "$place"
run diff -r flowers/data colleague/data
(cd flowers && run dvlite status --exit-code)
(cd colleague && run dvlite status --exit-code)
printf '\nyes: %s files are the same on both sides\n' "$(find colleague/data -type f ! -name '*.dvlite' ! -name .gitignore | wc -l | tr -d ' ')"

# shellcheck source=examples/demo-digits.sh
source "$examples/demo-digits.sh"
