# The second half of `make demo`, read by demo.sh: the pipeline of examples/digits, three models, and what each was made of.
# What the commands show is compared with what git, the pointers and the files themselves say; the script fails where it differs.

tell() { # shows a command, runs it, keeps what it prints for `expect`; a first word -CODE is the exit code that is right
  local wanted=0 code=0
  if [[ $1 == -[0-9]* ]]; then wanted=${1#-} && shift; fi
  printf '$ %s\n' "$*"
  "$@" >"$place/shown" || code=$?
  cat "$place/shown"
  ((code == wanted)) || fail "'$*' exited with $code, not $wanted"
}
fail() {
  printf '\nthe demo is wrong: %s\n' "$*" >&2
  exit 1
}
expect() { # every text given is in what the last command printed
  for text in "$@"; do grep -qF -- "$text" "$place/shown" || fail "'$text' is not in what is shown above"; done
}
expect_not() {
  for text in "$@"; do if grep -qF -- "$text" "$place/shown"; then fail "'$text' is in what is shown above"; fi; done
}
expect_lines() { # so many lines have the text
  local found
  found=$(grep -cF -- "$2" "$place/shown" || true)
  ((found == $1)) || fail "'$2' is in $found lines of what is shown above, not in $1"
}
sha256() { python -c 'import hashlib, sys; print(hashlib.sha256(open(sys.argv[1], "rb").read()).hexdigest()[:8])' "$1"; }
run_of_train() { sed -n '/^  train:/,/^  [a-z]/s/^    run: run:\(......\).*/train-\1/p' dvlite.lock; }

commits=() data=() models=() runs=() kinds=() # of the three versions
commit() {                                    # commits what the stages made, and notes what is true of this version
  run git commit --quiet --all -m "$1"
  commits+=("$(git rev-parse --short=7 HEAD)") models+=("$(sha256 model.joblib)") runs+=("$(run_of_train)") kinds+=("$2")
  data+=("$(sed -n 's/^oid: manifest:\(........\).*/\1/p' data/raw.dvlite)")
}

say "a pipeline: examples/digits, handwritten digits from a scanner that sometimes fails"
cp -R "$examples/digits" "$place/digits"
cd "$place/digits"
run git init --quiet --initial-branch=main .
run dvlite init --quiet
run python make_data.py 2
run dvlite add --quiet data/raw
run dvlite remote add --quiet "$place/digits-store"
git add .
run git commit --quiet -m "Raw digits and the pipeline"
tell dvlite dag
expect "prepare  -> data/prepared" "train  -> model.joblib"

say "the first model"
tell dvlite repro
expect "3 ran" "accuracy="
commit "Logistic regression" train.kind=logistic
run dvlite push

say "another parameter: only what depends on it runs"
tell dvlite repro -S train.kind=svm -S train.c=10
expect "params.yaml: train.kind logistic -> svm" "prepare   up to date" "2 ran, 1 up to date" "better"
commit "Support vector machine" train.kind=svm

say "back to the first parameters: nothing is trained, the outputs are reused"
tell dvlite repro -S train.kind=logistic -S train.c=1.0
expect "train     cached" "from ${runs[0]}"
run git reset --quiet --hard
run dvlite checkout
tell dvlite repro --dry-run
expect "Everything is up to date"

say "more data: what would run, and why?"
run python make_data.py 3
tell dvlite status
expect "data/raw" "Stages out of date"
tell -1 dvlite repro --dry-run --explain
expect "data/raw changed"
run dvlite add -u
tell dvlite repro
expect "3 ran"
commit "A third part of digits" train.kind=svm
run dvlite push

say "all runs with their results"
tell dvlite runs --stage train
expect "${runs[@]}" "${commits[@]}"
tell dvlite runs diff "${runs[0]}" "${runs[1]}"
expect "train.kind" "logistic -> svm"
tell dvlite metrics diff "${commits[0]}" "${commits[1]}"
expect "accuracy" "better"
tell dvlite log model.joblib
expect "${runs[@]}" "${commits[@]}"

say "three model files on a server, renamed: what produced them?"
mkdir "$place/server"
names=(current.bin candidate.bin next.bin)
for number in 0 1 2; do
  run dvlite get --quiet . model.joblib --rev "${commits[number]}" -o "$place/server/${names[number]}"
  [[ $(sha256 "$place/server/${names[number]}") == "${models[number]}" ]] || fail "${names[number]} is another model"
done
expect_lineage() { # asks of all three where it is called; the rest of the words goes to dvlite lineage
  for number in 0 1 2; do
    tell dvlite lineage "$place/server/${names[number]}" "$@"
    expect "sha256:${models[number]}" "made as model.joblib by ${runs[number]}" "data/raw ${data[number]}" \
      "code    ${commits[number]}" "${kinds[number]}" "scikit-learn"
  done
}
expect_lineage

say "what differs between two of them?"
tell dvlite lineage diff "$place/server/candidate.bin" "$place/server/next.bin"
expect "${data[1]} -> ${data[2]}" "data/raw/part-3.csv"

say "the other way round: which models used the first version of the data?"
tell dvlite lineage --down "${commits[0]}:data/raw"
expect "${data[0]}" "${runs[0]}" "${runs[1]}"
expect_not "${runs[2]}"
expect_lines 2 model.joblib
say "and from the second?"
tell dvlite lineage --down data/raw
expect "${data[2]}" "${runs[2]}"
expect_not "${runs[0]}" "${runs[1]}"
expect_lines 1 model.joblib

say "the same query in a colleague's clone"
cd "$place"
run dvlite clone "$place/digits" digits-colleague
cd digits-colleague
tell dvlite repro --dry-run
expect "Everything is up to date"
expect_lineage

say "and trains again: the same bytes"
tell dvlite repro --force --single --no-run-cache train
expect "train  ok"
run git diff --exit-code dvlite.lock
[[ $(sha256 model.joblib) == "${models[2]}" ]] || fail "the model has other bytes now"

say "and on the server, where there is no git and no clone"
mkdir "$place/empty"
cd "$place/empty"
expect_lineage --remote "$place/digits-store"

say "variants beside the workspace: is the strength of the regularisation right?"
cd "$place/digits"
tell dvlite try -S train.c=1,10,100 -j 2 --name strength
expect "3 of 3 variants" "dvlite runs best"
tell dvlite status
expect "Clean"
best=$(dvlite runs best accuracy --sweep strength -q)
tell dvlite runs apply "$best" --branch strength
expect "Made the branch strength"
tell git log --oneline --max-count 2 strength
expect "Apply $best" "${commits[2]}"
tell dvlite runs show "${runs[2]}"
expect "learning.jsonl:checked"
tell dvlite plots diff "${commits[0]}" "$best"
expect "Would more rows help?" "of 449 equal"

say "all of it in a browser: one page, which opens from disk"
page=${DEMO_PAGE:-$place/runs.html}
tell dvlite runs --html "$page"
expect "Wrote $page"
for run in "${runs[@]}" "$best" '"name":"learning.jsonl:checked"'; do
  grep -q "$run" "$page" || fail "$run is not on the page"
done

printf '\nall as it should be: three models, each with its data, code, parameters and environment\n'
if [[ -n ${DEMO_PAGE:-} ]]; then printf 'the page of the runs stays: %s\n' "$DEMO_PAGE"; fi
