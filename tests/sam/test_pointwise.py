"""Convolutions that run as products of matrices."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from vns_sam.sam.pointwise import ThinConv, pointwise


def test_a_thin_convolution_is_a_convolution() -> None:
    layer, x = ThinConv(2, 8), torch.randn(3, 2, 5, 7)
    torch.testing.assert_close(layer(x), F.conv2d(x, layer.weight, layer.bias, padding=1), atol=1e-6, rtol=1e-5)


def test_a_pointwise_convolution_is_a_convolution_and_keeps_the_memory_in_order() -> None:
    weight, bias, x = torch.randn(4, 6, 1, 1), torch.randn(4), torch.randn(2, 6, 5, 7)
    expected = F.conv2d(x, weight, bias)
    for given in (x, x.contiguous(memory_format=torch.channels_last)):
        found = pointwise(given, weight, bias)
        torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-5)
        assert found.is_contiguous(memory_format=torch.channels_last)
