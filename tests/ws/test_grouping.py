"""Feature grouping: parity with the measured numbers, and that "assign" groups where "broadcast" cannot."""

from __future__ import annotations

import pytest
import torch

from vns_sam.ws.grouping import FeatureGrouping, FeatureGroups, Positions, Prototypes, Reconstruct

BOTH: tuple[Reconstruct, ...] = ("assign", "broadcast")


def size_of(module: torch.nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def two_regions(channels: int = 8, height: int = 6, width: int = 10) -> tuple[torch.Tensor, torch.Tensor]:
    """A map of two kinds of features, (1, C, h, w), and where the second kind is: a ring, which no ramp can follow."""
    torch.manual_seed(3)
    kinds = 3 * torch.randn(2, channels)
    inside = torch.zeros(height, width, dtype=torch.bool)
    inside[1:5, 2:8] = True
    inside[2:4, 4:6] = False
    return kinds[inside.long()].permute(2, 0, 1)[None], inside


def without_positions(groups: FeatureGroups) -> FeatureGroups:
    for parameter in groups.positions.parameters():
        parameter.data.zero_()
    return groups


def test_parameters_as_released() -> None:
    grouping = FeatureGrouping(128, reconstruct="broadcast")
    parts = grouping.fine, grouping.coarse, grouping.gate, grouping
    assert [size_of(part) for part in parts] == [283_136, 250_112, 32_896, 566_144]


def test_positions_are_distances_from_the_sides() -> None:
    positions = Positions(4)
    positions.linear.weight.data = torch.eye(4)
    positions.linear.bias.data.zero_()
    down, right, up, left = positions(3, 5)[0]
    assert torch.equal(down, torch.tensor([[0.0], [0.5], [1.0]]).expand(3, 5))
    assert torch.equal(right, torch.tensor([0, 0.25, 0.5, 0.75, 1]).expand(3, 5))
    assert torch.equal(up, 1 - down)
    assert torch.equal(left, 1 - right)


def test_positions_at_two_sizes_agree_at_the_corners() -> None:
    positions = Positions(5)
    small, large = positions(2, 3), positions(7, 9)
    torch.testing.assert_close(small[..., ::1, ::2], large[..., ::6, ::8])
    torch.testing.assert_close(positions(1, 1)[0, :, 0, 0], positions(4, 4)[0, :, 0, 0])


@torch.no_grad()
def test_prototypes_by_hand() -> None:
    torch.manual_seed(0)
    module, features = Prototypes(4, 3, 2, contrast=False), torch.randn(1, 5, 4)
    z = module.feature_norm(features)[0]
    keys, values, s = module.key(z), module.value(z), module.initial.weight
    for _ in range(2):
        scores = module.query(module.prototype_norm(s)) @ keys.T / 2
        shares = scores.exp() / scores.exp().sum(0)
        weights = (shares + 1e-8) / (shares + 1e-8).sum(1, keepdim=True)
        s = torch.stack([module.update((w @ values)[None], old[None])[0] for w, old in zip(weights, s, strict=True)])
        s = s + module.refine(s)
    found, found_shares = module(features)
    torch.testing.assert_close(found[0], s)
    torch.testing.assert_close(found_shares[0], shares)


@torch.no_grad()
@pytest.mark.parametrize("shift", [0.0, 100.0])
def test_contrast_is_the_cosine_of_what_differs(shift: float) -> None:
    torch.manual_seed(0)
    module, features = Prototypes(4, 3, 1, contrast=True), torch.randn(1, 5, 4)
    keys = module.key(module.feature_norm(features))[0]
    queries = module.query(module.prototype_norm(module.initial.weight))
    module.key.bias += shift  # what all places have in common tells nothing apart
    keys, queries = keys - keys.mean(0), queries - queries.mean(0)
    cosines = queries @ keys.T / queries.norm(dim=1)[:, None] / keys.norm(dim=1)
    torch.testing.assert_close(module(features)[1][0], (10 * cosines).softmax(0), atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_two_kinds_of_places_are_two_groups_before_anything_is_learnt() -> None:
    x, inside = two_regions()
    apart = []
    for seed in range(16):
        torch.manual_seed(seed)
        shares = without_positions(FeatureGroups(8, 2, 3, "assign"))(x)[1][0]
        apart.append(float((shares[:, inside].mean(1) - shares[:, ~inside].mean(1)).abs().min()))
    assert sum(apart) / len(apart) > 0.8


@torch.no_grad()
def test_where_nothing_differs_all_groups_share_alike() -> None:
    shares = without_positions(FeatureGroups(8, 4, 3, "assign"))(torch.ones(1, 8, 3, 5))[1]
    torch.testing.assert_close(shares, torch.full_like(shares, 0.25), atol=0.01, rtol=0)


@torch.no_grad()
@pytest.mark.parametrize("reconstruct", BOTH)
def test_the_gated_sum(reconstruct: Reconstruct) -> None:
    torch.manual_seed(0)
    grouping, x = FeatureGrouping(16, reconstruct=reconstruct), torch.randn(2, 16, 3, 5)
    y, (fine, coarse) = grouping(x)
    first = grouping.fine(x)[0]
    second = grouping.coarse(x + first)[0]
    share = ((y - x - second) / (first - second)).flatten(1)
    assert share.std(1).max() < 1e-3
    assert ((share > 0) & (share < 1)).all()
    assert (fine.shape, coarse.shape) == ((2, 4, 3, 5), (2, 2, 3, 5))
    torch.testing.assert_close(fine.sum(1), torch.ones(2, 3, 5))
    torch.testing.assert_close(coarse.sum(1), torch.ones(2, 3, 5))


@torch.no_grad()
def test_assign_is_constant_in_a_region_and_differs_between_regions() -> None:
    x, inside = two_regions()
    rebuilt, shares = without_positions(FeatureGroups(8, 4, 3, "assign"))(x)
    for region in (rebuilt[0][:, inside], rebuilt[0][:, ~inside], shares[0][:, inside], shares[0][:, ~inside]):
        assert region.std(1).max() < 1e-5
    assert (rebuilt[0][:, inside].mean(1) - rebuilt[0][:, ~inside].mean(1)).norm() > 1e-2


@torch.no_grad()
def test_broadcast_is_one_vector_and_a_ramp_that_no_picture_changes() -> None:
    torch.manual_seed(0)
    groups = FeatureGroups(8, 4, 3, "broadcast")
    first, second = groups(torch.randn(1, 8, 6, 10))[0], groups(5 * torch.randn(1, 8, 6, 10))[0]
    assert (first - second).flatten(2).std(2).max() < 1e-5
    assert (first - second).abs().max() > 1e-3
    y, x = torch.meshgrid(torch.arange(6.0), torch.arange(10.0), indexing="ij")
    plane = torch.stack([y.flatten(), x.flatten(), torch.ones(60)], 1)
    values = first[0].flatten(1).T
    residual = values - plane @ torch.linalg.lstsq(plane, values).solution
    assert residual.abs().max() < 1e-5


@pytest.mark.parametrize("reconstruct", BOTH)
def test_only_assign_learns_to_tell_two_regions_apart(reconstruct: Reconstruct) -> None:
    torch.manual_seed(1)
    x, inside = two_regions()
    groups = FeatureGroups(8, 2, 3, reconstruct)
    target = inside.float()
    optimizer = torch.optim.Adam(groups.parameters(), lr=1e-2)
    for _ in range(120):
        optimizer.zero_grad()
        rebuilt, shares = groups(x + 0.1 * torch.randn_like(x))
        loss = (rebuilt[0, 0] - target).square().mean()
        loss.backward()
        optimizer.step()
    if reconstruct == "broadcast":
        assert loss > 0.8 * target.var(unbiased=False)
    else:
        assert loss < 0.02
        object_share = shares[0][:, inside].mean(1) - shares[0][:, ~inside].mean(1)
        assert object_share.abs().min() > 0.5


@torch.no_grad()
@pytest.mark.parametrize("reconstruct", BOTH)
def test_pictures_of_a_batch_do_not_touch_each_other(reconstruct: Reconstruct) -> None:
    torch.manual_seed(0)
    grouping, x = FeatureGrouping(16, reconstruct=reconstruct), torch.randn(3, 16, 4, 5)
    torch.testing.assert_close(grouping(x)[0][1:2], grouping(x[1:2])[0])


@torch.no_grad()
def test_the_order_of_prototypes_does_not_matter() -> None:
    torch.manual_seed(0)
    groups, x = FeatureGroups(8, 4, 3, "assign"), torch.randn(1, 8, 4, 5)
    before, shares = groups(x)
    groups.prototypes.initial.weight.copy_(groups.prototypes.initial.weight[[2, 0, 3, 1]].clone())
    after, reordered = groups(x)
    torch.testing.assert_close(after, before)
    torch.testing.assert_close(reordered, shares[:, [2, 0, 3, 1]])


@pytest.mark.parametrize("reconstruct", ["assign", "broadcast"])
def test_a_map_is_rebuilt_by_hand(reconstruct: Reconstruct) -> None:
    torch.manual_seed(0)
    groups, x = FeatureGroups(4, 2, 2, reconstruct).eval(), torch.randn(2, 4, 3, 5)
    places = (x + groups.positions(3, 5)).flatten(2).transpose(1, 2)
    prototypes, shares = groups.prototypes(groups.embed(places))
    if groups.placing is None:
        rebuilt = torch.einsum("bnc,bnp->bcp", prototypes, shares).unflatten(2, (3, 5))
    else:
        ramp = groups.placing(3, 5)
        rebuilt = torch.cat([prototypes[:, n, :, None, None] + ramp for n in range(2)], dim=1)
    torch.testing.assert_close(groups(x)[0], groups.project(rebuilt))


def test_the_gate_hears_means_and_peaks() -> None:
    torch.manual_seed(0)
    grouping, x = FeatureGrouping(4, (3, 2)).eval(), torch.randn(2, 4, 3, 5)
    assert grouping.fine.prototypes.iterations == grouping.coarse.prototypes.iterations == 3
    first = grouping.fine(x)[0]
    second = grouping.coarse(x + first)[0]
    both = torch.cat([first, second], dim=1)
    gate = (grouping.gate(both.mean((2, 3), keepdim=True)) + grouping.gate(both.amax((2, 3), keepdim=True))).sigmoid()
    torch.testing.assert_close(grouping(x)[0], x + gate * first + (1 - gate) * second)
