using System.CommandLine;
using Blkring.Interop;

namespace Blkring.Load;

/// <summary>The options that several commands have, with the same words.</summary>
internal static class CommonOptions
{
    public static Option<double> Seconds(double standard) =>
        new("--seconds")
        {
            Description = "Length of each measurement in seconds",
            HelpName = "S",
            DefaultValueFactory = _ => standard,
        };

    public static Option<int> Rounds(string description = "Number of pairs of measurements") =>
        new("--rounds")
        {
            Description = description,
            HelpName = "N",
            DefaultValueFactory = _ => 5,
        };

    public static Option<int> Cpu(string description = "CPU of the backend") =>
        new("--cpu")
        {
            Description = description,
            HelpName = "N",
            DefaultValueFactory = _ => CpuAffinity.Allowed()[0],
        };

    /// <returns>A CPU for the guests, apart from that of the backend; the same one if there is no other.</returns>
    public static int OtherThan(int cpu) => CpuAffinity.Allowed().FirstOrDefault(candidate => candidate != cpu, cpu);

    public static Option<string> Image() =>
        new("--image")
        {
            Description = "Image to read; without it, 256 MiB on tmpfs are written first and removed afterwards",
            HelpName = "PATH",
        };

    public static Option<bool> Json() => new("--json") { Description = "Print one JSON object instead of a table" };
}
