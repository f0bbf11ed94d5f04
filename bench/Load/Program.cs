using System.CommandLine;
using Blkring.Load;

RootCommand root = new(
    "Load benchmarks of Blkring. Each measures a baseline (plain C, fio, or Blkring without a feature) in the same "
        + "run, on the same machine, and prints ratios."
)
{
    RingCommand.Create(),
    DiskCommand.Create(),
    FairCommand.Create(),
    HungCommand.Create(),
    HostileCommand.Create(),
    PollCommand.Create(),
    ModesCommand.Create(),
};
return root.Parse(args).Invoke();
