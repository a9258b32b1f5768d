"""The family against its published sizes and its own definitions."""

import pytest
import torch

from septet.speech import NetworkConfig, SASEGANGenerator, SEGANDiscriminator, family
from septet.speech._folding import folded

SMALL = (8, 8, 16, 16)


def count(module):
    return sum(p.numel() for p in module.parameters())


def on_meta(make):
    with torch.device("meta"):
        return make()


@pytest.fixture(scope="module")
def plain_sizes():
    return (
        count(on_meta(lambda: SASEGANGenerator((), spectral_norm=False))),
        count(on_meta(lambda: SEGANDiscriminator((), spectral_norm=False))),
    )


def test_segan_has_its_parameters(plain_sizes):
    assert plain_sizes == (73_100_049, 24_373_081)


@pytest.mark.parametrize(
    ("layers", "reduction", "added"),
    [
        ((3,), 8, (2_562, 513)),
        ((4,), 8, (10_242, 2_049)),
        ((5,), 8, (10_242, 2_049)),
        ((6,), 8, (40_962, 8_193)),
        ((7,), 8, (40_962, 8_193)),
        ((8,), 8, (163_842, 32_769)),
        ((9,), 8, (163_842, 32_769)),
        ((10,), 8, (655_362, 131_073)),
        ((11,), 8, (524_289, 524_289)),
        (range(3, 12), 8, (1_612_305, 741_897)),
        ((10,), 2, (1_638_402, 327_681)),
        ((11,), 2, (1_310_721, 1_310_721)),
        (range(3, 12), 2, (4_030_737, 1_854_729)),
    ],
)
def test_attention_adds_the_parameters_of_the_table(plain_sizes, layers, reduction, added):
    options = {"value_reduction": reduction, "spectral_norm": False}
    generator = on_meta(lambda: SASEGANGenerator(layers, **options))
    judge = on_meta(lambda: SEGANDiscriminator(layers, **options))
    assert (count(generator) - plain_sizes[0], count(judge) - plain_sizes[1]) == added


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"spectral_norm": False},
        {"latent": "none"},
        {"stages": 2},
        {"stages": 2, "tied": False},
        {"output": "residual"},
        {"stride": 4, "attention": (1,)},
        {"initialisation": "kaiming"},
    ],
)
def test_output_has_the_shape_of_the_input(options):
    net = SASEGANGenerator(**{"attention": (2, 4), "channels": SMALL, **options})
    x = 0.1 * torch.randn(3, 1, 1024)
    outputs = net.chain(x, net.sample_latents(3, 1024) or None)
    assert [y.shape for y in outputs] == [x.shape] * options.get("stages", 1)


def test_tied_stages_share_their_weights_and_independent_ones_do_not():
    sizes = [
        count(SASEGANGenerator((), SMALL, stages=2, tied=tied, spectral_norm=False))
        for tied in (True, False)
    ]
    assert sizes[1] == 2 * sizes[0]


def test_a_fresh_sasegan_computes_segans_function():
    source = torch.Generator().manual_seed(0)
    attending = SASEGANGenerator((2, 4), SMALL, spectral_norm=False, generator=source)
    plain = SASEGANGenerator((), SMALL, spectral_norm=False)
    plain.load_state_dict({k: v for k, v in attending.state_dict().items() if "attention" not in k})
    x = torch.randn(2, 1, 256)
    assert torch.equal(attending(x), plain(x))
    for module in attending.modules():
        if hasattr(module, "beta"):
            module.beta.data.fill_(0.5)
    assert not torch.allclose(attending(x), plain(x))


def test_a_shift_of_the_input_shifts_the_code():
    net = SASEGANGenerator((), (4, 4, 4), spectral_norm=False, latent="none")
    x = torch.randn(1, 1, 2048)
    moved = torch.roll(x, 8, dims=-1)

    def code(signal):
        for layer, slope in zip(net.nets[0].down, net.nets[0].down_slope, strict=True):
            signal = slope(layer(signal))
        return signal

    inner = slice(40, 200)
    torch.testing.assert_close(code(x)[..., inner], code(moved)[..., 41:201])


def test_residual_output_follows_the_level_of_its_input():
    net = SASEGANGenerator((), SMALL, output="residual", initialisation="kaiming", latent="none")
    x = torch.randn(1, 1, 256)
    torch.testing.assert_close(net.eval()(0.01 * x), 0.01 * net(x), rtol=1e-4, atol=1e-7)


def test_rows_of_a_batch_do_not_mix():
    net = SASEGANGenerator((2,), SMALL).eval()
    x = torch.randn(4, 1, 256)
    torch.testing.assert_close(net(x)[1:2], net(x[1:2]), atol=1e-6, rtol=1e-5)


def test_the_reference_pass_gives_the_real_scores():
    judge = SEGANDiscriminator((), SMALL, window=256).double().eval()
    pairs = torch.randn(3, 2, 256, dtype=torch.float64)
    scores, moments = judge.reference(pairs)
    torch.testing.assert_close(judge(pairs, moments), scores, atol=1e-12, rtol=0)


def test_normalised_layers_are_those_of_the_paper():
    judge = SEGANDiscriminator((2,), SMALL, window=256)
    names = {
        n.removesuffix(".parametrizations.weight.original")
        for n, _ in judge.named_parameters()
        if "original" in n
    }
    assert {"down.0", "down.3", "attention.2.query", "attention.2.output"} <= names
    assert not {"squeeze", "score"} & names


@pytest.mark.parametrize(
    ("length", "attention", "message"),
    [
        (16384 + 2048, (), None),
        (2048, (10,), "multiple of 4096"),
        (4096, (11,), "multiple of 8192"),
        (1000, (), "multiple of 2048"),
    ],
)
def test_windows_that_do_not_fit_are_refused_with_the_legal_ones(length, attention, message):
    def build():
        return NetworkConfig(attention=attention, window=length)

    if message is None:
        assert build().window == length
    else:
        with pytest.raises(ValueError, match=message):
            build()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"attention": (12,)}, "attention must be from 1 to 11"),
        ({"stride": 3}, "stride must be even"),
        ({"output": "sigmoid"}, "output must be one of"),
        ({"channels": (8,)}, "at least two layers"),
        ({"stages": 0}, "stages must be at least 1"),
    ],
)
def test_networks_that_do_not_exist_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        SASEGANGenerator(**arguments)


def test_family_names_give_the_published_members():
    assert family("segan").spectral_norm is False
    assert family("segan").attention == family("segan+sn").attention == ()
    assert family("sasegan-all").attention == tuple(range(3, 12))
    assert family("dsegan-3").stages == 3
    assert not family("dsegan-3").tied
    assert family("isegan-2").tied
    assert family("sasegan-1", width=0.25).channels[0] == 4
    with pytest.raises(ValueError, match="sasegan-12"):
        family("sasegan-12")


@pytest.mark.parametrize("output", ["tanh", "residual"])
@pytest.mark.parametrize("latent", ["normal", "none"])
def test_folding_changes_nothing_but_the_size(output, latent):
    config = NetworkConfig(
        attention=(2, 4), channels=SMALL, latent=latent, output=output, window=256
    )
    net = config.generator(seed=1)
    for module in net.modules():
        if hasattr(module, "beta"):
            module.beta.data.fill_(0.6)
    x = 0.3 * torch.randn(2, 1, 256)
    for _ in range(5):
        net.train()(x)  # let the power iterations move away from their start
    plain, plain_config = folded(net, config)
    torch.testing.assert_close(plain(x), net.eval()(x), atol=2e-6, rtol=1e-4)
    assert (plain_config.spectral_norm, plain_config.latent) == (False, "none")
    removed = 31 * SMALL[-1] * SMALL[-2] if latent == "normal" else 0
    assert count(plain) == count(net) - removed


def test_a_seed_gives_the_same_weights_and_touches_nobody_elses():
    config = NetworkConfig(channels=SMALL, attention=(2,), window=256)
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first, second = config.generator(seed=3), config.generator(seed=3)
    assert torch.equal(before, torch.get_rng_state())
    for a, b in zip(first.state_dict().values(), second.state_dict().values(), strict=True):
        assert torch.equal(a, b)
