"""The evaluations of one level: evaluate, note the best picture, take a step; again and again.

On CUDA the whole of it is recorded once as a graph and replayed, so that the host neither launches kernels
one by one nor waits for any of them.
"""

import torch

from worker.engine.objective import TERMS, Objective
from worker.engine.optimizers import Optimizer, choose

EAGER = 3
"""Evaluations before a graph is recorded: libraries choose their kernels meanwhile."""


class Loop:
    """Runs a batch through a level.

    Attributes:
        terms: the last evaluation's, (B, 5) in the order of `objective.TERMS`.
        best: the picture with the least total so far, (B, 3, H, W). best_terms: its terms.
        optimizer: where the pictures stand.
    """

    def __init__(self, objective: Objective, optimizer: Optimizer) -> None:
        self._objective = objective
        self.optimizer = optimizer
        x = optimizer.x
        self.best = x.clone()
        self.terms = torch.full((x.shape[0], len(TERMS)), torch.inf, device=x.device)
        self.best_terms = self.terms.clone()
        self._graph: torch.cuda.CUDAGraph | None = None
        self._eager = EAGER
        self._stream = torch.cuda.Stream(x.device) if x.is_cuda else None  # type: ignore[no-untyped-call]

    def advance(self) -> None:
        """One evaluation and one step."""
        if self._stream is None:
            self._advance()
        elif self._graph is not None:
            self._graph.replay()
        else:
            self._advance_on(self._stream)

    def keep(self, items: list[int]) -> None:
        """Go on with some pictures of the batch only."""
        self._graph, self._eager = None, EAGER
        self._objective.keep(items)
        self.optimizer.keep(items)
        index = torch.as_tensor(items, device=self.terms.device)
        self.best, self.terms, self.best_terms = self.best[index], self.terms[index], self.best_terms[index]

    def _advance(self) -> None:
        evaluation = self._objective(self.optimizer.x)
        self.terms.copy_(evaluation.terms)
        total = self.terms[:, 0]
        better = total < self.best_terms[:, 0]
        choose(better, self.optimizer.x, self.best)
        choose(better, self.terms, self.best_terms)
        self.optimizer.step(total, evaluation.gradient)

    def _advance_on(self, stream: torch.cuda.Stream) -> None:
        """The first evaluations, on a stream of their own as recording demands; then record."""
        stream.wait_stream(torch.cuda.current_stream(stream.device))
        with torch.cuda.stream(stream):
            self._advance()
        torch.cuda.current_stream(stream.device).wait_stream(stream)
        self._eager -= 1
        if self._eager == 0:
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph, stream=stream, capture_error_mode="thread_local"):
                self._advance()
            self._graph = graph
