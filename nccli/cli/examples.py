"""Examples under the help of the commands; `\\b` keeps click from filling the lines."""

ENCODE_EXAMPLES = """
\b
Examples:
  ncc encode photo.png                        writes photo.ncc
  ncc encode photo.png --quality 70 -o small.ncc
  ncc encode photo.png --lambda 0.005         the research knob
  ncc encode photo.png --size 50000           at most 50,000 bytes
  ncc encode photo.png --psnr 35              smallest file of 35 dB
  ncc encode *.jpg -j 2 --out-dir small       many at once
  ncc encode holiday -r --out-dir small --skip-existing
  cat photo.png | ncc encode - -o - > photo.ncc
  ncc encode photo.png --roi mask.png --size 50000
  ncc encode photo.png --roi "200,80,320,240" --roi-gain 100
  ncc encode photo.png --roi-model seg --roi-background 28 --roi-out mask.png
"""

DECODE_EXAMPLES = """
\b
Examples:
  ncc decode photo.ncc                        writes photo.png
  ncc decode photo.ncc -o photo.jpg
  ncc decode photo.ncc --reference photo.png  reports PSNR and MS-SSIM
  ncc decode small -r --out-dir large --format webp
  cat photo.ncc | ncc decode - -o - | display
"""

REFINE_EXAMPLES = """
\b
Examples:
  ncc refine photo.png                        writes photo.ncc, 500 steps
  ncc refine photo.png --lambda 0.005 --preset best
  ncc refine photo.png --size 50000 --time 120
  ncc refine old.ncc --original photo.png -o new.ncc
  ncc refine photo.png --roi mask.png --trace run.csv --plot run.svg
  ncc refine photo.png --size 50000 --metric mse=1 --metric features=2
"""

ROI_EXAMPLES = """
\b
Examples:
  ncc roi photo.png                           writes photo.roi.png
  ncc roi photo.png -o mask.png --model saliency
  ncc roi holiday -r --out-dir masks          for ncc encode holiday -r --roi masks
  ncc roi photo.png -o mask.png --model onnx:network.onnx,mean=0.5
"""

COMPLETION_EXAMPLES = """
\b
Examples:
  ncc completion bash > ~/.local/share/bash-completion/completions/ncc
  ncc completion zsh > ~/.zfunc/_ncc
  ncc completion fish > ~/.config/fish/completions/ncc.fish
"""

BENCH_EXAMPLES = """
\b
Examples:
  ncc bench holiday -o results                writes results/report.html and more
  ncc bench *.png -o results --codecs ncc,jpeg,webp,avif
  ncc bench kodak -o results --resume         goes on where it was stopped
  ncc bench kodak -o results --published peers.tsv
  ncc bench clips -o results --codecs x265,svt-av1 --frames 64
"""
