"""The authors' names of the network's parts, beside ours.

Loading files, stripping prefixes and reporting is the business of the checkpoint
loader; here a complete state dict of the published network changes its names.
"""

from collections.abc import Callable, Mapping

from torch import Tensor

from braindecode_samba.nn.unet import N_FEATURES

# beginnings of names; none of them begins another
_OURS = {
    "saie.net.": "trunk.spatial.weights.net.",
    "input_embedding.": "trunk.encoder.input_embedding.",
    "encoder1.0.": "trunk.encoder.linear1.",
    "encoder1.1.": "trunk.encoder.mamba1.",
    "encoder2.": "trunk.encoder.conv2.",
    "encoder3.": "trunk.encoder.conv3.",
    "bottleneck.0.": "trunk.mediator.linear_in.",
    "bottleneck.1.block.": "trunk.mediator.mdm.",
    "bottleneck.2.": "trunk.mediator.linear_out.",
    "decoder3.": "decoder.conv3.",
    "decodeMamba3.": "decoder.mamba3.",
    "decoder2.": "decoder.conv2.",
    "decodeMamba2.": "decoder.mamba2.",
    "decoder1.": "decoder.conv1.",
    "onput_embedding.": "readout.",
}


# sizes of all Mamba-2 layers can be read off the first one
_CONVOLUTION = "trunk.encoder.mamba1.mamba.conv1d.weight"
_NORM = "trunk.encoder.mamba1.mamba.norm.weight"


def layer_sizes(
    parameters: Mapping[str, Tensor], name_in_file: Callable[[str], str] = str
) -> dict[str, int]:
    """Read the sizes of the Mamba-2 layers off the parameters of a network.

    Parameters
    ----------
    parameters : mapping of str to Tensor
        Parameters of either model, under our names.
    name_in_file : callable
        Gives the name that a parameter has for the user.

    Returns
    -------
    dict of str to int
        ``d_state``, ``d_conv`` and ``expand``.

    Raises
    ------
    KeyError
        If a parameter that tells them is missing.
    ValueError
        If no layer has parameters of such shapes.
    """
    convolution, norm = parameters[_CONVOLUTION], parameters[_NORM]
    if convolution.dim() == 3 and norm.dim() == 1:
        inner = len(norm)
        expand, rest = divmod(inner, N_FEATURES)
        d_state, odd = divmod(len(convolution) - inner, 2)
        d_conv = convolution.shape[2]
        if not (rest or odd) and min(expand, d_state, d_conv) > 0:
            return {"d_state": d_state, "d_conv": d_conv, "expand": expand}
    raise ValueError(
        f"tensors {name_in_file(_CONVOLUTION)!r} and {name_in_file(_NORM)!r} have "
        f"shapes {tuple(convolution.shape)} and {tuple(norm.shape)}, which no Mamba-2 "
        f"layer of {N_FEATURES} features has"
    )


def rename_reference_keys(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Give the parameters of the published network our names and shapes.

    Parameters
    ----------
    state_dict : mapping of str to Tensor
        Parameters under the authors' names, without prefix.

    Returns
    -------
    dict of str to Tensor
        The same values for `SAMBAReconstructor` with ``readout="electrode"`` and
        ``spatial_init="published"``.

    Raises
    ------
    ValueError
        If a name is not one of the published network's.
    """
    renamed = {}
    for name, value in state_dict.items():
        theirs = next((part for part in _OURS if name.startswith(part)), None)
        if theirs is None:
            raise ValueError(
                f"{name!r} is no parameter of the published network; pass a state dict "
                "with the authors' names and no prefix"
            )
        if name == "encoder1.0.weight":  # a linear layer is a convolution of one sample
            value = value.unsqueeze(-1)
        renamed[_OURS[theirs] + name.removeprefix(theirs)] = value
    return renamed


def reference_name(name: str) -> str:
    """Give the authors' name of one of our parameters.

    Parameters
    ----------
    name : str
        Name in `SAMBAReconstructor`.

    Returns
    -------
    str
        Name in the published network, or the same where it has no such part.
    """
    for theirs, ours in _OURS.items():
        if name.startswith(ours):
            return theirs + name.removeprefix(ours)
    return name
