"""Fine-tuning both stages on judged data; uses the pipeline and the evaluation."""
