#!/bin/sh
# Make the Python code of the .proto file, or, with --check, say whether it is as it would be made.
#
# Code made by this protoc (26.1, as grpcio-tools 1.65.5 has it) works with protobuf from 5.26 on. What later ones make
# works with protobuf of its own major version and the next, and no longer. Its tools need a protobuf below 6, and so have
# an environment of their own; they are built for Python 3.11 and 3.12.
set -eu
here=src/sojourn/state
name=widget_states
tools=.venv/proto

if [ ! -x $tools/bin/python ]; then
  for python in python3.12 python3.11; do
    if $python -c '' 2>/dev/null; then break; fi
  done
  $python -m venv $tools
fi
$tools/bin/python -m pip install --quiet 'grpcio-tools==1.65.5' 'setuptools<81'

made=$(mktemp -d)
trap 'rm -rf "$made"' EXIT
$tools/bin/python -m grpc_tools.protoc -Isrc --python_out="$made" --pyi_out="$made" sojourn/state/$name.proto
made_here=$made/sojourn/state

# Two last lines, by which a test sees without any tool that neither file was changed alone.
$tools/bin/python - $here/$name.proto "$made_here/${name}_pb2.py" <<'END'
import sys
from hashlib import sha256
from pathlib import Path

source, code = map(Path, sys.argv[1:])
digests = sha256(source.read_bytes()).hexdigest(), sha256(code.read_bytes()).hexdigest()
with code.open("a") as file:
    file.write("# sha256 of the .proto file: {}\n# sha256 of what protoc made: {}\n".format(*digests))
END

for file in ${name}_pb2.py ${name}_pb2.pyi; do
  if [ "${1:-}" = --check ]; then
    cmp "$made_here/$file" $here/$file
  else
    cp "$made_here/$file" $here/$file
  fi
done
