"""Nine sentences, three queries: by hand with torch.topk, and with `semantic_search`.

python examples/semantic_search.py
"""

import torch

from shortlist import BiEncoder, semantic_search

CORPUS = [
    "A man is eating food.",
    "A man is eating a piece of bread.",
    "The girl is carrying a baby.",
    "A man is riding a horse.",
    "A woman is playing violin.",
    "Two men pushed carts through the woods.",
    "A man is riding a white horse on an enclosed ground.",
    "A monkey is playing drums.",
    "A cheetah is running behind its prey.",
]
QUERIES = [
    "A man is eating pasta.",
    "Someone in a gorilla costume is playing a set of drums.",
    "A cheetah chases prey on across a field.",
]
TOP_K = 5


def main() -> None:
    model = BiEncoder.load("all-MiniLM-L6-v2", precision="float32")
    corpus = model.encode_passages(CORPUS)
    queries = model.encode_queries(QUERIES)

    print("By hand:")
    for query, embedding in zip(QUERIES, queries, strict=True):
        similarities = torch.from_numpy(corpus) @ torch.from_numpy(embedding)  # both have length 1
        scores, rows = torch.topk(similarities, TOP_K)
        show(query, rows.tolist(), scores.tolist())

    print("\nWith semantic_search, as sentence-transformers has it:")
    for query, hits in zip(QUERIES, semantic_search(queries, corpus, top_k=TOP_K), strict=True):
        show(query, [hit["corpus_id"] for hit in hits], [hit["score"] for hit in hits])


def show(query: str, rows: list[int], scores: list[float]) -> None:
    print(f"\n{query}")
    for row, score in zip(rows, scores, strict=True):
        print(f"  {score:.4f}  {CORPUS[row]}")


if __name__ == "__main__":
    main()
