"""Limited-memory BFGS over a batch of pictures, without a line search.

Nocedal 1980; the direction is not found by the two-loop recursion but by the compact representation of the
inverse Hessian's estimate (Byrd, Nocedal and Schnabel 1994, equation 3.1), which reads the memory twice in
all and leaves the rest to matrices of the memory's length:

    H = gamma I + [S, gamma Y] [[R^-T (D + gamma Y^T Y) R^-1, -R^-T], [-R^-1, 0]] [S^T; gamma Y^T]

S and Y hold the last steps and the gradient's changes along them, R is the upper triangle of S^T Y, D its
diagonal, and gamma = s.y / y.y of the newest pair (Nocedal and Wright 2006, equation 7.20).
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from worker.engine.optimizers import ACCEPTED, FIRST_STEP, Accepted, State, choose

LEAST_CURVATURE = 1e-10
"""As in `torch.optim.LBFGS`: a step along which the gradient changes no more than this teaches nothing."""

DAMPING = 0.25
"""What is left of a step that is undone: its direction was of use, its length was not."""

BOLDNESS, MOST_BOLDNESS = 2.0, 16.0
"""Where the curvature is not positive, nothing is remembered and steps follow the gradient, each longer
than the one before by the first number, at most by the second in all: there, far is safe."""

MOST_MOVE = 1.0
"""By how much a step may change any colour: their whole range. A longer one is shortened as a whole, which
leaves its curvature true. In flat pictures the first estimates of curvature are wrong by magnitudes."""

EXPERIENCE = 3
"""Pairs that experience holds at most. With them paintings of 60 evaluations end 1.7 % higher than
undisturbed ones at most, without any 7.6 % (docs/engine.md)."""

PARTS = frozenset({"ages", "pairs", "products", "sy", "yy", "gamma", "boldness", "newest"})
"""What every state holds that is not empty."""

CHUNK = 2**20
"""Entries of a half-precision memory that are converted at a time."""

SLICE = 2**14
"""Entries of a picture that one thread of a CPU multiplies at a time. As one product of a matrix and a vector
these are left to one thread, which takes as long as all the rest of a step."""


class LBFGS:
    """See `worker.engine.optimizers.Optimizer`.

    The first step follows the gradient; every further one is the quasi-Newton step itself, as in
    `torch.optim.LBFGS`. A pair whose curvature y.s is not clearly positive is left out. Nothing is clamped: a
    projection would falsify the curvature. An undone step is shortened, and drops the memory that misled it.

    Memory in bytes a value of the picture: 20, and twice `history` times the size of `dtype`.
    """

    def __init__(self, x: Tensor, history: int = 10, dtype: torch.dtype = torch.float32) -> None:
        """Start at `x`, (B, 3, H, W) float32, which is taken over.

        Args:
            x: the first pictures.
            history: pairs remembered.
            dtype: what they are remembered in, float32 or bfloat16.
        """
        self.x = x
        batch, device = x.shape[0], x.device
        length = x[0].numel()
        self._accepted = Accepted(x.flatten(1))
        # Pairs lie in a ring: rows 0 to m - 1 are steps, m to 2 m - 1 changes of the gradient.
        self._pairs = torch.zeros(batch, 2 * history, length, dtype=dtype, device=device)
        self._newest = torch.full((1,), history - 1, dtype=torch.int64, device=device)
        self._ages = torch.arange(history, device=device)
        # Products of pairs in double precision, which Apple's GPU lacks: S^T Y and Y^T Y.
        exact = torch.float32 if device.type == "mps" else torch.float64
        self._valid = torch.zeros(batch, history, dtype=torch.bool, device=device)
        self._inner = torch.zeros(batch, 2, history, history, dtype=exact, device=device)
        self._gamma = torch.ones(batch, dtype=exact, device=device)
        # The memory's products with the accepted gradient; what steps along the gradient are stretched by.
        self._products = torch.zeros(batch, 2 * history, dtype=exact, device=device)
        self._boldness = torch.full((batch,), 1 / BOLDNESS, device=device)

    @property
    def rejections(self) -> Tensor:
        """See `Optimizer.rejections`."""
        return self._accepted.rejections

    @property
    def lost(self) -> Tensor:
        """See `Optimizer.lost`."""
        return self._accepted.lost

    @property
    def accepted(self) -> Tensor:
        """See `Optimizer.accepted`."""
        return self._accepted.x.view_as(self.x)

    @property
    def state_bytes(self) -> int:
        """See `Optimizer.state_bytes`: the accepted picture, its gradient, and every pair."""
        return 2 * self.x[0].nbytes + self._pairs[0].nbytes

    @property
    def _history(self) -> int:
        return len(self._ages)

    @property
    def _on_cpu(self) -> bool:
        """Where to look at a number costs nothing, so that masks are applied only where they change some."""
        return self.x.is_cpu

    @property
    def _in_place(self) -> bool:
        """Where a new pair is found in its place in the ring."""
        return self._on_cpu and self._pairs.dtype is torch.float32

    @torch.no_grad()
    def step(self, losses: Tensor, gradient: Tensor) -> None:
        """See `Optimizer.step`."""
        x, gradient, accepted = self.x.flatten(1), gradient.flatten(1), self._accepted
        good, paired, own = self._take(x, losses, gradient)
        accepted.update(good, x, losses, gradient)
        self._valid.logical_and_(good[:, None])
        self._learn(paired, own)
        self._move(good, self._retreat(good, x))

    def _take(self, x: Tensor, losses: Tensor, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Judge an evaluation and write its pair into the ring, or zeros.

        Returns:
            Which evaluations are of use, (B,); which of these came with a pair, (B,); and s.y and y.y of the
            pairs, (B, 2), zero where there is none.
        """
        self._newest.add_(1).remainder_(self._history)
        move, change = self._pair(x, gradient)
        own = self._own_products(move, change)
        good = self._accepted.judge(losses, own[:, 1].to(losses.dtype))
        paired = good & self._accepted.begun
        self._remember(paired, move, change)
        return good, paired, torch.where(paired[:, None], own, 0.0)

    def _retreat(self, good: Tensor, x: Tensor) -> Tensor | None:
        """Part of the way from the last accepted picture to the present one, where that must be undone."""
        if x.device.type == "cpu" and bool(good.all()):
            return None
        return torch.lerp(self._accepted.x, x, DAMPING)

    def _pair(self, x: Tensor, gradient: Tensor) -> tuple[Tensor, Tensor]:
        """How far `x` moved, and how much the gradient changed: s and y, (B, n) each."""
        accepted = self._accepted
        if not self._in_place:
            return x - accepted.x, gradient - accepted.gradient
        newest = int(self._newest)
        move, change = self._pairs[:, newest], self._pairs[:, newest + self._history]
        return torch.sub(x, accepted.x, out=move), torch.sub(gradient, accepted.gradient, out=change)

    def _remember(self, paired: Tensor, move: Tensor, change: Tensor) -> None:
        """Write the new pair into the ring, or zeros."""
        if self._in_place:
            if not bool(paired.all()):
                self._pairs[~paired, int(self._newest) :: self._history] = 0
            return
        for place, new in ((self._newest, move), (self._newest + self._history, change)):
            # Not multiplied: what is no number would stay.
            new.masked_fill_(~paired[:, None], 0)
            self._pairs.index_copy_(1, place, new[:, None].to(self._pairs.dtype))

    def _own_products(self, move: Tensor, change: Tensor) -> Tensor:
        """s.y and y.y of pairs (B, n) each: (B, 2)."""
        if not self._on_cpu:
            own = torch.stack(((move * change).sum(dim=1), change.square().sum(dim=1)), dim=1)
            return own.to(self._inner.dtype)
        parts = [
            torch.stack([torch.stack((s.dot(y), y.dot(y))) for s, y in zip(*both, strict=True)])
            for both in zip(_chunks(move), _chunks(change), strict=True)
        ]
        return torch.stack(parts).sum(dim=0, dtype=self._inner.dtype)

    def _multiply(self, vectors: Tensor) -> Tensor:
        """The memory's dot products with vectors (B, n): (B, 2 m)."""
        if self._pairs.dtype is torch.float32:
            if self._on_cpu:
                return torch.stack([_dots(*one) for one in zip(self._pairs, vectors, strict=True)])
            return (vectors[:, None] @ self._pairs.mT)[:, 0].to(self._inner.dtype)
        total = torch.zeros_like(self._products)
        for pairs, part in zip(_chunks(self._pairs), _chunks(vectors), strict=True):
            total += (part[:, None] @ pairs.float().mT)[:, 0]
        return total

    def _learn(self, paired: Tensor, own: Tensor) -> None:
        """Bring S^T Y, Y^T Y and gamma up to date; `own` is s.y and y.y of the newest pair."""
        products = self._multiply(self._accepted.gradient)
        # y is a difference of gradients, so the older pairs' products with it are differences too.
        fresh = (products - self._products).view(-1, 2, self._history)
        fresh.index_copy_(2, self._newest, own[..., None])
        self._products.copy_(products)
        self._inner.index_copy_(3, self._newest, fresh[..., None])
        self._inner[:, 1].index_copy_(1, self._newest, fresh[:, 1, None])
        useful = paired & (own[:, 0] > LEAST_CURVATURE)
        self._valid.index_copy_(1, self._newest, useful[:, None])
        choose(useful, own[:, 0] / own[:, 1], self._gamma)

    def _move(self, good: Tensor, retreat: Tensor | None) -> None:
        """Set `x` to the next picture: a quasi-Newton step, a retreat, or else a gradient step."""
        accepted = self._accepted
        scale = self._scale(good)
        weights = self._coefficients(self._products).to(scale.dtype)[:, None]
        # The way back from the next pictures to these is found in their place.
        x = self.x.view(self.x.shape[0], 1, -1)
        torch.mul(accepted.gradient[:, None], scale[:, None, None], out=x)
        if self._pairs.dtype is not torch.float32:
            for part, pairs in zip(_chunks(x), _chunks(self._pairs), strict=True):
                part.baddbmm_(weights, pairs.float())
        elif self._on_cpu:
            for vector, one, pairs in zip(x[:, 0], weights, self._pairs, strict=True):
                _add(vector, one, pairs)
        else:
            x.baddbmm_(weights, self._pairs)
        way = x[:, 0]
        reach = torch.maximum(way.amax(dim=1), -way.amin(dim=1))
        shortening = (MOST_MOVE / reach).clamp_max(1)
        torch.addcmul(accepted.x, way, shortening[:, None], value=-1, out=way)
        if retreat is not None:
            choose(~good & torch.isfinite(retreat.abs().sum(dim=1)), retreat, way)

    def _scale(self, good: Tensor) -> Tensor:
        """What the gradient is multiplied by, (B,): gamma, or where nothing is known, a rate."""
        experienced = self._valid.any(dim=1)
        if self._on_cpu and bool(experienced.all()):
            self._boldness.fill_(1 / BOLDNESS)
            return self._gamma.to(self._boldness.dtype)
        bolder = (self._boldness * BOLDNESS).clamp_max(MOST_BOLDNESS)
        self._boldness.copy_(torch.where(good & ~experienced, bolder, 1 / BOLDNESS))
        rate = self._boldness * FIRST_STEP / self._accepted.length.clamp_min(1e-30)
        return torch.where(experienced, self._gamma.to(rate.dtype), rate)

    def _coefficients(self, with_gradient: Tensor) -> Tensor:
        """How much of each step and each change the direction holds, (B, 2 m); zero for what is not valid."""
        # Oldest first, as R wants it; what is not valid becomes a one on the diagonal that meets only zeros.
        order = (self._ages + (self._newest + 1)).remainder_(self._history)
        inner = self._inner.index_select(2, order).index_select(3, order)
        products = with_gradient.view(-1, 2, self._history).index_select(2, order)
        if not self._on_cpu or not bool(self._valid.all()):
            valid = self._valid.index_select(1, order)
            inner = inner * (valid[:, :, None] & valid[:, None, :])[:, None]
            products = products * valid[:, None]
            inner[:, 0].diagonal(dim1=1, dim2=2).add_(~valid)
        (sy, yy), (p, q) = inner.unbind(1), products[..., None].unbind(1)
        diagonal, gamma = torch.diagonal(sy, dim1=1, dim2=2)[..., None], self._gamma[:, None, None]
        u = torch.linalg.solve_triangular(sy, p, upper=True)
        between = torch.addcmul(gamma * (yy @ u - q), diagonal, u)
        v = torch.linalg.solve_triangular(sy.mT, between, upper=False)
        found = torch.stack((v, -gamma * u), dim=1)[..., 0]
        return torch.empty_like(found).index_copy_(2, order, found).flatten(1)

    def keep(self, items: Sequence[int]) -> None:
        """See `Optimizer.keep`."""
        index = torch.as_tensor(items, device=self.x.device)
        self.x = self.x[index]
        self._accepted.keep(index)
        for name in ("_pairs", "_valid", "_inner", "_gamma", "_products", "_boldness"):
            setattr(self, name, getattr(self, name)[index])

    def state(self, item: int) -> dict[str, Tensor]:
        """See `Optimizer.state`."""
        if not bool(self._accepted.begun[item]):
            return {}
        return self._accepted.state(item) | self._pairs_of(item, self._history, self._pairs.dtype)

    def experience(self, item: int) -> dict[str, Tensor]:
        """See `Optimizer.experience`: the newest pairs in half precision, four bytes a value and pair."""
        if not bool(self._valid[item].any()):
            return {}
        return self._pairs_of(item, EXPERIENCE, torch.bfloat16)

    def _pairs_of(self, item: int, most: int, dtype: torch.dtype) -> dict[str, Tensor]:
        """The newest pairs, at most so many, and what is known of them."""
        places = self._places()
        ages = self._ages[self._valid[item, places]][:most]
        kept = places[ages]
        both = torch.cat((kept, kept + self._history))
        parts = {
            "ages": ages,
            "pairs": self._pairs[item, both].to(dtype),
            "products": self._products[item, both],
            "sy": self._inner[item, 0][kept][:, kept],
            "yy": self._inner[item, 1][kept][:, kept],
            "gamma": self._gamma[item],
            "boldness": self._boldness[item],
            "newest": self._newest,
        }
        return {name: part.cpu().clone() for name, part in parts.items()}

    def restore(self, states: Sequence[State]) -> None:
        """See `Optimizer.restore`.

        The order of sums follows the places of pairs, so those are restored too: to the last digit where the
        states are whole and of one step.
        """
        begun = [(item, state) for item, state in enumerate(states) if state]
        for _, state in begun[:1]:
            self._newest.copy_(state["newest"] % self._history)
        for item, state in begun:
            if any(name in state for name in ACCEPTED):
                self._accepted.restore(item, state)
            self._boldness[item] = state["boldness"]
            self._gamma[item] = state["gamma"].to(self._gamma)
            young = (state["ages"] < self._history).nonzero()[:, 0]
            places = self._places()[state["ages"][young].to(self._ages.device)]
            both = torch.cat((places, places + self._history))
            for name, mine in (("pairs", self._pairs), ("products", self._products)):
                mine[item, both] = torch.cat([half[young] for half in state[name].chunk(2)]).to(mine)
            for name, matrix in zip(("sy", "yy"), self._inner[item], strict=True):
                matrix[places[:, None], places] = state[name][young][:, young].to(matrix)
            self._valid[item, places] = True

    def _places(self) -> Tensor:
        """Where in the ring the pairs lie, the newest first, (m,)."""
        return (self._newest - self._ages).remainder(self._history)


def _dots(rows: Tensor, vector: Tensor) -> Tensor:
    """Dot products of rows (k, n) with a vector (n,), summed in double precision, (k,)."""
    whole = len(vector) // SLICE * SLICE
    total = (rows[:, whole:] @ vector[whole:]).double()
    if whole:
        # The other way round, matrix times vector, a batched product takes five times as long.
        total += torch.bmm(vector[:whole].view(-1, 1, SLICE), _slices(rows, whole).mT).sum(
            dim=(0, 1), dtype=total.dtype
        )
    return total


def _add(vector: Tensor, weights: Tensor, rows: Tensor) -> None:
    """Add rows (k, n), weighted by (1, k), to a vector (n,)."""
    whole = len(vector) // SLICE * SLICE
    if whole:
        parts = _slices(rows, whole)
        vector[:whole].view(-1, 1, SLICE).baddbmm_(weights.expand(len(parts), -1, -1), parts)
    vector[None, whole:].addmm_(weights, rows[:, whole:])


def _slices(rows: Tensor, whole: int) -> Tensor:
    """The first columns of (k, n), side by side: (whole / SLICE, k, SLICE)."""
    return rows[:, :whole].view(len(rows), -1, SLICE).transpose(0, 1)


def _chunks(values: Tensor) -> Sequence[Tensor]:
    return torch.split(values, CHUNK, dim=-1)
