#!/usr/bin/env bash
#
# Runs augment_gen on a Cloud TPU VM, of one or several hosts; see README.md.
# Keeps to bash 3.2, which is what macOS has.

set -euo pipefail

readonly CHECKOUT=augment_gen  # on the VM, below the home folder
readonly ENVIRONMENT=augment_gen_env  # likewise: the Python environment
readonly PYTHON=3.11  # the images have 3.10, augment_gen needs more
readonly SOURCES="augment_gen configs pyproject.toml setup.py setup.cfg README.md LICENSE"

usage() {
  cat <<'USAGE'
usage: launch/tpu_vm.sh COMMAND [FLAG...] [-- ARGUMENT...]

commands
  create   makes the VM; from then on it costs money
  setup    copies the code to all hosts and installs it there
  run      starts the run on all hosts, in the background
  resume   the same, after making the VM again if it was preempted
  status   the state of the VM, and whether the run is running on each host
  logs     the last lines of a host's log
  stop     ends the run on all hosts; it saves first, and run goes on from there
  delete   deletes the VM and its disk; asks first

flags, each also a variable of the environment (--data-disk: DATA_DISK)
  --name NAME          of the VM
  --zone ZONE          such as us-central2-b
  --project PROJECT    default: the project gcloud is set to
  --type TYPE          such as v4-8 (create, resume)
  --version IMAGE      runtime image; default: Google's base image for TYPE
  --data-disk DISK     projects/P/zones/Z/disks/D: kept when the VM goes away,
                       attached for writing, to one host only (create, resume)
  --repo REPO          git URL, or a local checkout (default: this one)
  --prepare COMMAND    run on every host before the installation, such as one
                       that mounts a disk or a bucket (setup, resume)
  --config CONFIG      NAME or configs/NAME.py, with [:variant], in the checkout
                       (run, resume)
  --workdir DIR        on the VM, a local or mounted folder (run, resume, logs)
  --worker N           whose log: 0 (the default), 1, ..., all (logs)

switches
  --spot               cheap, may be preempted at any time (create, resume)
  --preemptible        as --spot, the older kind: 24 hours at most
  --follow             wait for further lines (logs)
  --yes                do not ask (delete)
  --dry-run            print the gcloud commands and run nothing
  --help

What follows -- goes to augment_gen.main (run, resume): --config.seed=1
Exit status: 0; 2 for a mistake in the call; else gcloud's own.
USAGE
}

#######################################
# Ends the script with one line on stderr.
# Arguments: exit status, message.
#######################################
fail() {
  printf 'tpu_vm.sh: %s\n' "$2" >&2
  exit "$1"
}

# Quotes each argument for a shell, where it needs it; joined by spaces.
quote() {
  local separator="" argument
  for argument in "$@"; do
    printf '%s' "${separator}"
    case "${argument}" in
      "" | *[!a-zA-Z0-9_./:=,@%+-]*)
        # The dot keeps newlines at the end, which $(...) would drop.
        argument="$(printf '%s.' "${argument}" | sed "s/'/'\\\\''/g")"
        printf "'%s'" "${argument%.}"
        ;;
      *) printf '%s' "${argument}" ;;
    esac
    separator=" "
  done
}

# Calls `gcloud compute tpus tpu-vm VERB TARGET...`, or prints it.
tpu() {
  local call=(gcloud compute tpus tpu-vm "$@" "--zone=${ZONE}")
  [[ -z "${PROJECT}" ]] || call+=("--project=${PROJECT}")
  if [[ -n "${DRY_RUN}" ]]; then
    quote "${call[@]}"
    echo
  else
    "${call[@]}"
  fi
}

# Runs a shell command on the given worker (a number, or all).
on_worker() {
  tpu ssh "${NAME}" "--worker=$1" "--command=$2"
}

# Prints the state of the VM, such as READY; MISSING if there is none.
state() {
  local ask=(tpu describe "${NAME}" "--format=value(state)") answer
  if [[ -n "${DRY_RUN}" ]]; then
    "${ask[@]}"
  elif answer="$("${ask[@]}" 2>&1)"; then
    # gcloud's warnings and notices may stand above and below the value.
    printf '%s\n' "${answer}" | sed -n '/^[A-Z][A-Z]*$/p'
  elif [[ "${answer}" == *NOT_FOUND* ]]; then
    echo MISSING
  else
    fail 1 "cannot tell the state of ${NAME}: ${answer}"
  fi
}

# Google's image for the generation of TPU that ${TYPE} names.
default_version() {
  case "${TYPE}" in
    v2-* | v3-* | v4-*) echo tpu-ubuntu2204-base ;;
    v5litepod-*) echo v2-alpha-tpuv5-lite ;;
    v5p-*) echo v2-alpha-tpuv5 ;;
    v6e-*) echo v2-alpha-tpuv6e ;;
    *) fail 2 "no image is known for --type ${TYPE}: name one with --version" ;;
  esac
}

create() {
  local options=("--accelerator-type=${TYPE}" "--version=${VERSION}")
  [[ -z "${DISCOUNT}" ]] || options+=("${DISCOUNT}")
  [[ -z "${DATA_DISK}" ]] ||
    options+=("--data-disk=source=${DATA_DISK},mode=read-write")
  tpu create "${NAME}" "${options[@]}"
}

setup() {
  local name sources=()
  if [[ "${REPO}" == *://* || "${REPO}" == git@* ]]; then
    on_worker all "set -eu
if test -d ${CHECKOUT}; then git -C ${CHECKOUT} pull --quiet --ff-only
else git clone --quiet $(quote "${REPO}") ${CHECKOUT}; fi"
  else
    for name in ${SOURCES}; do
      sources+=("${REPO}/${name}")
    done
    on_worker all "mkdir -p ${CHECKOUT}"
    tpu scp --recurse "${sources[@]}" "${NAME}:${CHECKOUT}/" --worker=all
  fi
  [[ -z "${PREPARE}" ]] || on_worker all "${PREPARE}"
  # One call installs both, so that the resolver settles on one version of JAX.
  on_worker all "set -eu
cd ${CHECKOUT}
rm -f ~/${ENVIRONMENT}/ready
PIP_BREAK_SYSTEM_PACKAGES=1 python3 -m pip install --quiet --user uv
python3 -m uv venv --quiet --allow-existing --python ${PYTHON} \
~/${ENVIRONMENT}
python3 -m uv pip install --quiet --python ~/${ENVIRONMENT} -e '.[tensorflow]' \
'jax[tpu]'
touch ~/${ENVIRONMENT}/ready"
}

run() {
  local logs command
  # Beside the run folder: augment_gen.main wants a new one to be empty.
  logs="$(quote "${WORKDIR%/}.logs")"
  command="$(quote "../${ENVIRONMENT}/bin/python" -m augment_gen.main \
    "--config=${CONFIG}" "--workdir=${WORKDIR}" --multihost \
    ${ARGUMENTS[@]+"${ARGUMENTS[@]}"})"
  # JAX_PLATFORMS: without a TPU fail, rather than run for weeks on the CPU.
  # The lock is held by the process itself, so it cannot be left behind.
  on_worker all "set -eu
cd ${CHECKOUT}
host=\$(hostname)
test -e ../${ENVIRONMENT}/ready ||
{ echo \"\$host: not installed: run setup first\" >&2; exit 2; }
flock --nonblock run.lock true || { echo \"\$host: already running\"; exit 0; }
mkdir -p ${logs}
JAX_PLATFORMS=tpu,cpu nohup flock --nonblock run.lock sh -c \
'\"\$@\" & echo \$! > run.pid; wait \$!; echo \"exit status \$?\"' sh \
${command} >> ${logs}/\$host.log 2>&1 < /dev/null &
echo \"\$host: started\""
}

resume() {
  local found=PREEMPTED
  if [[ -n "${DRY_RUN}" ]]; then
    state
    echo "# what follows is for a VM that was preempted" >&2
  else
    found="$(state)"
  fi
  case "${found}" in
    READY)
      # An earlier resume may have ended between create and run.
      on_worker all "test -e ${ENVIRONMENT}/ready" || setup
      ;;
    PREEMPTED | TERMINATED)
      tpu delete "${NAME}" --quiet
      create
      setup
      ;;
    MISSING)
      create
      setup
      ;;
    *) fail 1 "${NAME} is ${found}, not READY or PREEMPTED: try again later" ;;
  esac
  run
}

status() {
  local found
  found="$(state)"
  echo "${found}"
  [[ "${found}" == READY || -n "${DRY_RUN}" ]] || return 0
  on_worker all "cd ${CHECKOUT}
flock --nonblock run.lock true && echo \"\$(hostname): not running\" ||
echo \"\$(hostname): running\""
}

logs() {
  on_worker "${WORKER}" "cd ${CHECKOUT}
tail -n 50${FOLLOW} $(quote "${WORKDIR%/}.logs")/\$(hostname).log"
}

stop() {
  on_worker all "cd ${CHECKOUT}
if flock --nonblock run.lock true; then echo \"\$(hostname): not running\"
else kill -TERM \"\$(cat run.pid)\"; echo \"\$(hostname): told to stop\"; fi"
}

delete() {
  tpu delete "${NAME}" ${ASSENT:+"${ASSENT}"}
}

parse_flags() {
  local flag
  while (($#)); do
    case "$1" in
      --*=*) set -- "${1%%=*}" "${1#*=}" "${@:2}" ;;
    esac
    flag="$1"
    shift
    case "${flag}" in
      --spot | --preemptible) DISCOUNT="${flag}" && continue ;;
      --follow) FOLLOW=" -F" && continue ;;
      --yes) ASSENT=--quiet && continue ;;
      --dry-run) DRY_RUN=1 && continue ;;
      --help | -h) usage && exit 0 ;;
      --) ARGUMENTS=("$@") && return ;;
      --name | --zone | --project | --type | --version | --data-disk | \
        --repo | --prepare | --config | --workdir | --worker) ;;
      *) fail 2 "'${flag}' is unknown: --help lists what there is" ;;
    esac
    (($#)) || fail 2 "${flag} needs a value"
    flag="$(printf '%s' "${flag#--}" | tr 'a-z-' 'A-Z_')"
    printf -v "${flag}" '%s' "$1"
    shift
  done
}

# Fails, with all their names on one line, unless these settings are given.
require() {
  local setting flags="" variables=""
  for setting in "$@"; do
    [[ -z "${!setting}" ]] || continue
    flags+=" --$(printf '%s' "${setting}" | tr 'A-Z_' 'a-z-')"
    variables+=" ${setting}"
  done
  [[ -z "${flags}" ]] || fail 2 \
    "${COMMAND} needs${flags} (or in the environment:${variables})"
}

check_form() {
  [[ "${NAME}" =~ ^[a-z]([-a-z0-9]*[a-z0-9])?$ ]] || fail 2 \
    "--name '${NAME}': only a-z, 0-9 and -, and a letter first"
  [[ "${ZONE}" =~ ^[a-z]+-[a-z]+[0-9]+-[a-z]$ ]] || fail 2 \
    "--zone '${ZONE}' is no zone: one looks like us-central2-b"
  [[ -z "${TYPE}" || "${TYPE}" =~ ^[a-z0-9]+-[0-9]+$ ]] || fail 2 \
    "--type '${TYPE}' is no TPU type: one looks like v4-8"
  [[ "${WORKER}" =~ ^([0-9]+|all)$ ]] || fail 2 \
    "--worker '${WORKER}' must be a number or all"
  case "${WORKDIR}" in
    *://*) fail 2 "--workdir '${WORKDIR}' must be a folder: mount the bucket \
(--prepare) and name a folder below it" ;;
    "~"*) fail 2 "--workdir '${WORKDIR}' must be absolute, or relative to the \
checkout on the VM" ;;
  esac
}

# What needs a look at this machine's files.
check_files() {
  case "${COMMAND}" in setup | run | resume) ;; *) return 0 ;; esac
  case "${REPO}" in *://* | git@*) return 0 ;; esac
  [[ -f "${REPO}/setup.py" ]] || fail 2 \
    "--repo '${REPO}' is neither a git URL nor a checkout (it has no setup.py)"
  [[ "${COMMAND}" == setup || -f "${REPO}/${CONFIG%%:*}" \
    || -f "${REPO}/configs/${CONFIG%%:*}.py" ]] || fail 2 \
    "--config '${CONFIG}': no such file in ${REPO}"
}

main() {
  COMMAND="${1:-}"
  case "${COMMAND}" in
    create | setup | run | resume | status | logs | stop | delete) shift ;;
    --help | -h) usage && exit 0 ;;
    "") usage >&2 && exit 2 ;;
    *) fail 2 "'${COMMAND}' is no command: --help lists them" ;;
  esac
  : "${NAME:=}" "${ZONE:=}" "${PROJECT:=}" "${TYPE:=}" "${VERSION:=}"
  : "${DATA_DISK:=}" "${PREPARE:=}" "${CONFIG:=}" "${WORKDIR:=}" "${WORKER:=0}"
  : "${REPO:=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)}"
  DISCOUNT="" FOLLOW="" ASSENT="" DRY_RUN="" ARGUMENTS=()
  parse_flags "$@"
  case "${COMMAND}" in
    create) require NAME ZONE TYPE ;;
    run) require NAME ZONE CONFIG WORKDIR ;;
    resume) require NAME ZONE TYPE CONFIG WORKDIR ;;
    logs) require NAME ZONE WORKDIR ;;
    *) require NAME ZONE ;;
  esac
  check_form
  check_files
  # Before anything is done: resume deletes a VM before it makes one.
  [[ -n "${VERSION}" || ! "${COMMAND}" =~ ^(create|resume)$ ]] ||
    VERSION="$(default_version)"
  [[ "${COMMAND}" =~ ^(run|resume)$ || ${#ARGUMENTS[@]} == 0 ]] || fail 2 \
    "${COMMAND} takes nothing after --"
  [[ -n "${DRY_RUN}" ]] || command -v gcloud > /dev/null || fail 2 \
    "gcloud is not on the PATH: install the Google Cloud CLI, or add --dry-run"
  "${COMMAND}"
}

main "$@"
