using System.CommandLine;
using Blkring.Commands.Demo.Options;

namespace Blkring.Commands.Demo;

/// <summary>
/// <c>blkring demo</c>. Options has the options, Guests and Devices are the two sides of the ring,
/// <see cref="DemoRun"/> measures, Reports prints.
/// </summary>
internal static class DemoCommand
{
    public static Command Create()
    {
        Command command = new(
            "demo",
            """
            Serves a disk to a guest without a hypervisor, in each ABI, and checks every byte that the guest reads.

            The guest sends reads, writes, flushes and discards through the same shared rings, grants and event channels
            as under Xen, for a few seconds per ABI. The result is one line per queue depth. The exit code is 0 if every
            byte was right and the data path allocated no memory, 1 if not, and 2 if the options make no sense.

            Example:
              blkring demo                                                serve a temporary image, in each ABI
              blkring demo --abi x86_32 --iodepth 32 --seconds 10         one ABI at one queue depth, for longer
              blkring demo --image disk.img --cache direct                only read an image, past the page cache
              blkring demo --compare all --disk memory                    measure each feature with and without it
            """
        );
        foreach (Option option in DemoArguments.All)
            command.Options.Add(option);
        command.SetAction(parsed => new DemoRun(DemoArguments.Read(parsed)).Execute());
        return command;
    }
}
