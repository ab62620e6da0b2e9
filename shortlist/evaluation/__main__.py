"""`python -m shortlist.evaluation --dataset ...`: the evaluation script on datasets."""

from shortlist.cli.datasets import main

main()
