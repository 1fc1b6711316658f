"""CARAFE under mmcv's names."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from inpaint.compat import mmcv
from inpaint.layers import CarafeUpsample
from inpaint.ops import carafe


def test_mmcvs_functions_are_these_operators() -> None:
    features, kernels = torch.randn(2, 6, 4, 5), torch.rand(2, 18, 8, 10)
    wanted = carafe(features, kernels, 3, 2, 2)
    named = {"kernel_size": 3, "group_size": 2, "scale_factor": 2}
    for function in (mmcv.carafe, mmcv.carafe_naive):
        assert torch.equal(function(features, kernels, 3, 2, 2), wanted)
        assert torch.equal(function(features, kernels, **named), wanted)
    for module in (mmcv.CARAFE, mmcv.CARAFENaive):
        assert torch.equal(module(3, 2, 2)(features, kernels), wanted)
        assert torch.equal(module(**named)(features, kernels), wanted)
    with pytest.raises(ValueError, match=r"kernels must have shape \[2, 18, 6, 8\]"):
        mmcv.carafe(features[..., :3, :4], kernels, 3, 2, 2)


@pytest.mark.parametrize("dilation", [1, 2])
def test_mmcvs_module_is_the_layer(dilation: int) -> None:
    pack = mmcv.CARAFEPack(6, 2, up_kernel=3, up_group=2, encoder_dilation=dilation, compressed_channels=4)
    assert {name: tuple(t.shape) for name, t in pack.state_dict().items()} == {
        "channel_compressor.weight": (4, 6, 1, 1),
        "channel_compressor.bias": (4,),
        "content_encoder.weight": (72, 4, 3, 3),
        "content_encoder.bias": (72,),
    }
    nn.init.normal_(pack.content_encoder.weight)
    x = torch.randn(2, 6, 7, 5)
    logits = pack.content_encoder(pack.channel_compressor(x))
    kernels = pack.kernel_normalizer(logits)
    torch.testing.assert_close(kernels.view(2, 2, 9, 14, 10).sum(2), torch.ones(2, 2, 14, 10))
    torch.testing.assert_close(pack(x), pack.feature_reassemble(x, kernels))
    if dilation == 1:
        layer = CarafeUpsample(6, 2, compressed_channels=4, up_kernel=3, groups=2)
        layer.load_state_dict(pack.state_dict())
        assert torch.equal(pack(x), layer(x))


def test_the_documented_name_in_ops_is_the_same() -> None:
    from inpaint.ops import mmcv as documented

    assert all(getattr(documented, name) is getattr(mmcv, name) for name in documented.__all__)
