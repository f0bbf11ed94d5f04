using System.CommandLine;
using System.Globalization;
using Blkring.Engine.Reactors;
using Blkring.Interop;

namespace Blkring.Load;

/// <summary>
/// Busy polling before sleeping (ReactorOptions.PollWindow) against sleeping at once, with a frontend that sleeps.
/// </summary>
internal static class PollCommand
{
    public static Command Create()
    {
        Option<double> seconds = CommonOptions.Seconds(1);
        Option<int> rounds = CommonOptions.Rounds();
        Option<int> cpu = CommonOptions.Cpu();
        Option<bool> json = CommonOptions.Json();
        Command command = new(
            "poll",
            "4 KiB random reads of an image on tmpfs: busy polling against none, with the frontend on another CPU and "
                + "on the same one"
        )
        {
            seconds,
            rounds,
            cpu,
            json,
        };
        command.SetAction(parsed =>
        {
            string image = DiskCommand.MakeImage();
            try
            {
                return Compare(
                    image,
                    parsed.GetValue(seconds),
                    parsed.GetValue(rounds),
                    parsed.GetValue(cpu),
                    parsed.GetValue(json)
                );
            }
            finally
            {
                File.Delete(image);
            }
        });
        return command;
    }

    private static int Compare(string image, double seconds, int rounds, int cpu, bool json)
    {
        int other = CommonOptions.OtherThan(cpu);
        List<Comparison> comparisons = [];
        long allocated = 0;
        foreach (int depth in new[] { 1, 32 })
        {
            foreach ((string where, int frontendCpu) in new[] { ($"on CPU {other}", other), ("on the same CPU", cpu) })
            {
                DiskLoad.Options polling = new()
                {
                    Image = image,
                    Depth = depth,
                    Seconds = seconds,
                    BackendCpu = cpu,
                    FrontendCpu = frontendCpu,
                };
                Comparison comparison = new($"depth {depth}, frontend sleeping {where}", "no poll window", null);
                for (int round = 0; round < rounds; round++)
                {
                    DiskLoad.Result without = DiskLoad.Run(polling with { PollWindow = TimeSpan.Zero });
                    DiskLoad.Result with = DiskLoad.Run(polling);
                    comparison.Add(with.PerSecond, without.PerSecond);
                    allocated += with.AllocatedBytes + without.AllocatedBytes;
                }
                comparisons.Add(comparison);
            }
        }
        double window = new ReactorOptions().PollWindow.TotalMicroseconds;
        return Comparison.Report(
            "4 KiB random reads per second: busy polling before sleeping",
            comparisons,
            [
                string.Create(
                    CultureInfo.InvariantCulture,
                    $"backend on CPU {cpu}; poll window {window} \u00b5s against none; {rounds} pairs of {seconds} s"
                ),
                $"bytes allocated by the data path: {allocated}",
            ],
            json
        );
    }
}
