using System.CommandLine;
using Blkring.Load;

RootCommand root = new(
    "Load benchmarks of Blkring against what plain C and fio reach on the same machine, as ratios in one run."
)
{
    RingCommand.Create(),
    DiskCommand.Create(),
    FairCommand.Create(),
    PollCommand.Create(),
    ModesCommand.Create(),
};
return root.Parse(args).Invoke();
