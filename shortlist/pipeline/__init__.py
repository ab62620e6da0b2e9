"""Numbers -> an order: the index, exact top-k, reranking, and the pipeline that ties them."""
