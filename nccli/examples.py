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
