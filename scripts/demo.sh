#!/usr/bin/env bash
# Trains Faster R-CNN in four steps on synthetic images and compares it with training end to end. Everything that it makes
# lies in demo/; run again, it goes on where it was, or says that all is up to date.
set -euo pipefail
root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
python="$("$root/scripts/setup.sh")"
cd "$root"
export PYTHONPATH="$root${PYTHONPATH:+:$PYTHONPATH}"
export DEMO_DATA="$root/demo/data"

"$python" scripts/make_synthetic.py "$DEMO_DATA" --num_train=400 --num_validation=80 --image_size=128 --seed=0
"$python" -m stagetrain.cli.main compare configs/demo/four_step.yaml --run_dir=demo/run

mapfile -t images < <(head -n 4 "$DEMO_DATA/ImageSets/Main/test.txt" | sed "s|.*|$DEMO_DATA/JPEGImages/&.jpg|")
# Detecting takes TensorFlow's seconds, so it is left out when nothing was trained since.
if [[ ! -f demo/detections/.made_from || "$(cat demo/detections/.made_from)" != "$(sha256sum <demo/run/pipeline.lock)" ]]; then
  "$python" -m stagetrain.cli.main detect demo/run "${images[@]}" --out demo/detections
  sha256sum <demo/run/pipeline.lock >demo/detections/.made_from
fi

echo
echo "Comparison:  $root/demo/run/report"
echo "Detections:  $(find "$root/demo/detections" -name '*.jpg' -o -name '*.png' | sort | head -n 1)"
