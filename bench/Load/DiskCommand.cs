using System.CommandLine;
using System.Globalization;
using System.Text.Json;
using Blkring.Engine.Disks;
using Blkring.Interop;

namespace Blkring.Load;

/// <summary>
/// 4 KiB random reads through the whole data path, against fio on the same file and the same CPU. One row per placement
/// of the frontend.
/// </summary>
internal static class DiskCommand
{
    /// <summary>The share of what fio reaches that Blkring must reach.</summary>
    private const double Target = 0.8;

    public static Command Create()
    {
        Option<string> image = CommonOptions.Image();
        Option<int> depth = new("--iodepth")
        {
            Description = "Number of requests in flight",
            HelpName = "N",
            DefaultValueFactory = _ => 32,
        };
        Option<double> seconds = CommonOptions.Seconds(2);
        Option<int> rounds = CommonOptions.Rounds();
        Option<int> cpu = CommonOptions.Cpu("CPU of the backend and of fio");
        Option<bool> json = CommonOptions.Json();
        Command command = new(
            "disk",
            "4 KiB random reads of an image through the whole data path: Blkring against fio on the same CPU"
        )
        {
            image,
            depth,
            seconds,
            rounds,
            cpu,
            json,
        };
        command.SetAction(parsed =>
        {
            string path = parsed.GetValue(image) ?? MakeImage();
            try
            {
                return Compare(
                    path,
                    parsed.GetValue(depth),
                    parsed.GetValue(seconds),
                    parsed.GetValue(rounds),
                    parsed.GetValue(cpu),
                    parsed.GetValue(json)
                );
            }
            catch (Exception error) when (error is BaselineException or ImageException)
            {
                Console.Error.WriteLine("blkring-load: " + error.Message);
                return 2;
            }
            finally
            {
                if (parsed.GetValue(image) is null)
                    File.Delete(path);
            }
        });
        return command;
    }

    private static int Compare(string path, int depth, double seconds, int rounds, int cpu, bool json)
    {
        // An image that cannot be read is reported in our words, not in fio's.
        FileDisk.Open(path, new FileDiskOptions()).Dispose();
        int other = CommonOptions.OtherThan(cpu);
        DiskLoad.Options options = new()
        {
            Image = path,
            Depth = depth,
            Seconds = seconds,
            BackendCpu = cpu,
        };
        // No target: each sleep ends with an interrupt to the other CPU, which takes tens of microseconds on a virtual
        // machine, so this is a figure of the machine.
        Comparison apart = new($"io_uring, frontend sleeping on CPU {other}", "fio io_uring", null);
        Comparison together = new("io_uring, frontend on the same CPU", "fio io_uring", Target);
        Comparison polled = new($"io_uring, frontend polling on CPU {other}", "fio io_uring", Target);
        Comparison sync = new("pread, frontend on the same CPU", "fio psync", Target);
        DiskLoad.Result? last = null;
        long allocated = 0;
        for (int round = 0; round < rounds; round++)
        {
            double uring = Fio(path, "io_uring", depth, seconds, cpu);
            last = DiskLoad.Run(options with { FrontendCpu = other });
            apart.Add(last.PerSecond, uring);
            allocated += last.AllocatedBytes;
            uring = Fio(path, "io_uring", depth, seconds, cpu);
            last = DiskLoad.Run(options with { FrontendCpu = other, FrontendPolls = other != cpu });
            polled.Add(last.PerSecond, uring);
            allocated += last.AllocatedBytes;
            uring = Fio(path, "io_uring", depth, seconds, cpu);
            last = DiskLoad.Run(options with { FrontendCpu = cpu });
            together.Add(last.PerSecond, uring);
            allocated += last.AllocatedBytes;
            double psync = Fio(path, "psync", 1, seconds, cpu);
            sync.Add(DiskLoad.Run(options with { FrontendCpu = cpu, UseIoUring = false }).PerSecond, psync);
        }
        string[] notes =
        [
            string.Create(
                CultureInfo.InvariantCulture,
                $"backend and fio on CPU {cpu}; medians of {rounds} pairs of {seconds} s; each ratio is that of a pair"
            ),
            last!.Disk,
            last.Engine,
            $"bytes allocated by the data path: {allocated}",
        ];
        return Comparison.Report($"4 KiB random reads, depth {depth}", [together, polled, apart, sync], notes, json);
    }

    private static double Fio(string path, string engine, int depth, double seconds, int cpu)
    {
        string output = Baseline.Run(
            "fio",
            "install it with 'apt-get install fio'",
            "--name=baseline",
            "--filename=" + path,
            "--readonly",
            "--ioengine=" + engine,
            "--direct=1",
            "--rw=randread",
            "--bs=4k",
            "--iodepth=" + depth.ToString(CultureInfo.InvariantCulture),
            "--time_based",
            "--runtime=" + Math.Max(1, Math.Ceiling(seconds)).ToString(CultureInfo.InvariantCulture),
            "--cpus_allowed=" + cpu.ToString(CultureInfo.InvariantCulture),
            "--output-format=json"
        );
        using JsonDocument document = JsonDocument.Parse(output[output.IndexOf('{', StringComparison.Ordinal)..]);
        return document.RootElement.GetProperty("jobs")[0].GetProperty("read").GetProperty("iops").GetDouble();
    }

    /// <summary>Makes an image of 256 MiB without holes, which would read faster than data.</summary>
    /// <param name="folder">Null for tmpfs if there is one.</param>
    public static string MakeImage(string? folder = null)
    {
        folder ??= Directory.Exists("/dev/shm") ? "/dev/shm" : Path.GetTempPath();
        string path = Path.Combine(folder, $"blkring-load-{Environment.ProcessId}.img");
        byte[] block = new byte[1 << 20];
        new Random(1).NextBytes(block);
        using FileStream file = File.Create(path);
        for (int i = 0; i < 256; i++)
            file.Write(block);
        return path;
    }
}
