using System.CommandLine;
using System.Globalization;
using System.Text.Json;
using Blkring.Engine.Disks;
using Blkring.Interop;

namespace Blkring.Load;

/// <summary>4 KiB random reads through the whole data plane against fio on the same file and the same CPU.</summary>
internal static class DiskCommand
{
    /// <summary>What the project promises: at least this share of fio's io_uring engine.</summary>
    private const double Target = 0.8;

    public static Command Create()
    {
        Option<string> image = new("--image")
        {
            Description = "File to read; made on tmpfs (256 MiB) when none is named",
        };
        Option<int> depth = new("--iodepth") { Description = "Requests in flight", DefaultValueFactory = _ => 32 };
        Option<double> seconds = new("--seconds") { Description = "Each measurement", DefaultValueFactory = _ => 2 };
        Option<int> rounds = new("--rounds") { Description = "Pairs of measurements", DefaultValueFactory = _ => 5 };
        Option<int> cpu = new("--cpu")
        {
            Description = "CPU of the backend, and of fio",
            DefaultValueFactory = _ => CpuAffinity.Allowed()[0],
        };
        Option<bool> json = new("--json") { Description = "For machines" };
        Command command = new(
            "disk",
            "4 KiB random reads, depth 32, image on tmpfs: Blkring against fio on the same CPU"
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
            catch (Exception error) when (error is MarkException or ImageException)
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
        // Our words for an image that cannot be read, before fio finds its own.
        FileDisk.Open(path, new FileDiskOptions()).Dispose();
        int other = CpuAffinity.Allowed().FirstOrDefault(candidate => candidate != cpu, cpu);
        DiskLoad.Options options = new()
        {
            Image = path,
            Depth = depth,
            Seconds = seconds,
            BackendCpu = cpu,
        };
        // Each side's sleep ends with an interrupt to the other CPU here, tens of microseconds on a virtual machine:
        // the machine's figure.
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
            $"backend and fio on CPU {cpu}; {rounds} pairs of {seconds.ToString(CultureInfo.InvariantCulture)} s; median, and the ratio pair by pair",
            last!.Disk,
            last.Engine,
            $"bytes allocated by the data path: {allocated}",
        ];
        return Comparison.Report($"4 KiB random reads, depth {depth}", [together, polled, apart, sync], notes, json);
    }

    private static double Fio(string path, string engine, int depth, double seconds, int cpu)
    {
        string output = Mark.Run(
            "fio",
            "install it with 'apt-get install fio'",
            "--name=mark",
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

    /// <summary>Written in full, not sparse: a hole reads faster than data.</summary>
    /// <param name="folder">Null for tmpfs, where there is one.</param>
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
