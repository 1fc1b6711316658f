import numpy as np
import pytest
import torch
from torch import Tensor, nn

from inpaint.networks import GlobalLocalDiscriminator, PatchDiscriminator
from inpaint.networks.discriminators import window_of_most_hole

DISCRIMINATORS = {
    "patch": lambda: PatchDiscriminator(widths=(4, 6, 8)),
    "global-local": lambda: GlobalLocalDiscriminator(width=2, hidden=8),
}
discriminators = pytest.mark.parametrize("name", DISCRIMINATORS)


def photos(batch: int = 2, size: int = 64) -> tuple[Tensor, Tensor]:
    image, mask = torch.rand(batch, 3, size, size), torch.zeros(batch, 1, size, size)
    mask[..., 10:30, 20:50] = 1
    return image, mask


# ------------------------------------------------------------------------------------------------------------
# The window around the hole
# ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("height", "width", "size"), [(16, 16, 8), (17, 23, 8), (20, 40, 20), (9, 9, 9), (5, 6, 1)]
)
def test_the_window_holds_the_most_hole(height: int, width: int, size: int) -> None:
    pictures = torch.randn(4, 3, height, width)
    mask = (torch.rand(4, 1, height, width) < torch.rand(4, 1, 1, width)).float()
    step = max(size // 8, 1)
    windows = window_of_most_hole(torch.cat([pictures, mask], 1), mask, size)
    assert windows.shape == (4, 4, size, size)
    for picture, window in enumerate(windows):
        places = [
            (top, left)
            for top in sorted({*range(0, height - size + 1, step), height - size})
            for left in sorted({*range(0, width - size + 1, step), width - size})
        ]
        held = [int(mask[picture, 0, y : y + size, x : x + size].sum()) for y, x in places]
        top, left = places[int(np.argmax(held))]
        assert torch.equal(window[:3], pictures[picture, :, top : top + size, left : left + size])
        assert window[3].sum() == max(held)


def test_a_gradient_goes_back_to_where_the_window_was() -> None:
    mask = torch.zeros(1, 1, 16, 16)
    mask[..., 9:14, 1:5] = 1
    x = torch.zeros(1, 2, 16, 16, requires_grad=True)
    window_of_most_hole(x, mask, 8).sum().backward()
    assert x.grad is not None and x.grad.sum() == 2 * 64
    assert x.grad[mask.expand_as(x) > 0].all()


# ------------------------------------------------------------------------------------------------------------
# Logits
# ------------------------------------------------------------------------------------------------------------


@discriminators
@pytest.mark.parametrize("size", [64, 96, 100])
def test_every_size_has_logits(name: str, size: int) -> None:
    logits = DISCRIMINATORS[name]()(*photos(size=size))
    assert logits.shape == (2, 1 if name == "global-local" else (size // 8) ** 2)


@discriminators
def test_a_picture_too_small_to_halve_so_often_is_refused(name: str) -> None:
    smallest = {"patch": 8, "global-local": 64}[name]
    assert DISCRIMINATORS[name]()(*photos(size=smallest)).isfinite().all()
    with pytest.raises(ValueError, match=rf"at least {smallest} px, got \[{smallest - 1}, {smallest - 1}\]"):
        DISCRIMINATORS[name]()(*photos(size=smallest - 1))


@discriminators
def test_picture_and_mask_both_count_and_pictures_are_apart(name: str) -> None:
    net = DISCRIMINATORS[name]().eval()
    image, mask = photos()
    wanted = net(image, mask)
    assert not torch.allclose(net(1 - image, mask), wanted)
    assert not torch.allclose(net(image, mask.roll(8, 2)), wanted)
    torch.testing.assert_close(net(image[:1], mask[:1]), wanted[:1])


@discriminators
def test_every_layer_ends_with_a_largest_singular_value_of_1(name: str) -> None:
    net, (image, mask) = DISCRIMINATORS[name]().train(), photos()
    for _ in range(60):  # each pass is one step of the power iteration
        net(image, mask)
    weights = [m.weight for m in net.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    assert len(weights) > 3
    for weight in weights:
        assert torch.linalg.matrix_norm(weight.flatten(1), ord=2).item() == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize("kernel_size", [4, 5, 6])
def test_gradients_of_even_kernels_do_not_alternate_from_pixel_to_pixel(kernel_size: int) -> None:
    """Odena et al., Distill 2016. The papers' 5×5 kernels give some pixels twice the gradient of others."""
    energy = torch.zeros(2, 2)
    for _ in range(20):
        net = PatchDiscriminator(widths=(16, 16, 16), kernel_size=kernel_size)
        image = torch.rand(2, 3, 64, 64, requires_grad=True)
        net(image, torch.zeros(2, 1, 64, 64)).mean().backward()
        assert image.grad is not None
        inner = image.grad[..., 16:48, 16:48].square()
        energy += (inner / inner.mean()).reshape(-1, 16, 2, 16, 2).mean((0, 1, 3))
    unevenness = (energy.max() / energy.min()).item()
    assert unevenness > 1.6 if kernel_size == 5 else unevenness < 1.25


def test_the_patch_discriminator_of_free_form_holes() -> None:
    """Yu et al., ICCV 2019: six convolutions 5×5 of stride 2, 64 to 256 channels, on picture and mask."""
    with torch.device("meta"):
        net = PatchDiscriminator((64, 128, 256, 256, 256, 256), kernel_size=5)
    convs = [m for m in net.features.modules() if isinstance(m, nn.Conv2d)]
    assert [(m.in_channels, m.out_channels) for m in convs] == [
        (4, 64), (64, 128), (128, 256), (256, 256), (256, 256), (256, 256),
    ]  # fmt: skip
    assert {(m.kernel_size, m.stride, m.padding) for m in convs} == {((5, 5), (2, 2), (2, 2))}


def test_the_window_sees_what_the_whole_cannot() -> None:
    """The two branches have their own weights, and both reach the logit."""
    net, (image, mask) = GlobalLocalDiscriminator(width=2, hidden=8), photos()
    net(image, mask).sum().backward()
    assert all(
        p.grad is not None and p.grad.any() for p in (*net.whole.parameters(), *net.window.parameters())
    )


def test_the_papers_branches() -> None:
    """Iizuka et al., table 2: six and five convolutions 5×5 of stride 2, linear layers to 1024, then to 1."""
    with torch.device("meta"):
        net = GlobalLocalDiscriminator(kernel_size=5)
    for branch, widths in (
        (net.whole, [64, 128, 256, 512, 512, 512]),
        (net.window, [64, 128, 256, 512, 512]),
    ):
        convs = [m for m in branch.modules() if isinstance(m, nn.Conv2d)]
        assert [m.out_channels for m in convs] == widths
        assert {(m.kernel_size, m.stride) for m in convs} == {((5, 5), (2, 2))}
        linear = [m for m in branch.modules() if isinstance(m, nn.Linear)]
        assert [(m.in_features, m.out_features) for m in linear] == [(512 * 4 * 4, 1024)]
    assert (net.to_logit.in_features, net.to_logit.out_features) == (2048, 1)
