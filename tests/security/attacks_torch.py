"""Attacks that need torch alone, which every mixer may import."""

import torch
from hostile import attack


@attack(reason="ermi", plain=True)
def reads_a_key_as_a_tensor(there):
    return torch.from_file(there.key, shared=False, size=8, dtype=torch.uint8)


@attack(reason="ermi", plain=True)
def writes_a_tensor_into_the_home_folder(there):
    return torch.from_file(there.home + "/" + there.token, shared=True, size=8)


@attack(reason="ermi", plain=True)
def saves_a_tensor_into_the_home_folder(there):
    return torch.save(torch.ones(1), there.home + "/" + there.token)


@attack(reason="ermi", plain=True)
def loads_a_pickle(there):
    return torch.load(there.key, weights_only=False)


@attack(reason="ermi", plain=True)
def shares_a_tensor_with_everybody(there):
    return torch.ones(1).share_memory_()


@attack(reason="ermi", plain=True)
def lists_the_home_folder_through_torch(there):
    return torch.serialization.os.listdir(there.home)


@attack(reason="ermi", plain=True)
def runs_a_command_through_torch(there):
    from torch.utils import collect_env

    return collect_env.subprocess.run(["true"], check=True)


@attack(reason="ermi", plain=True)
def connects_through_torch(there):
    brief = torch.distributed.constants.timedelta(seconds=1)
    return torch.distributed.TCPStore("127.0.0.1", there.tcp, None, False, brief)


@attack(reason="ended with status 1", plain=True)
def computes_with_many_threads(there):
    torch.set_num_threads(8)
    return torch.ones(2048, 2048) @ torch.ones(2048, 2048)
