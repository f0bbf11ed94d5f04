using System.CommandLine;
using System.Globalization;
using System.Text.Json;
using Blkring.Abi;
using Blkring.Interop;

namespace Blkring.Load;

/// <summary>The ring alone, against bench/reference/ring: the same in C with the macros of Xen's ring.h.</summary>
internal static class RingCommand
{
    /// <summary>On a one-page ring, a request may take 1.5 times as long as in C.</summary>
    private const double Target = 1 / 1.5;

    public static Command Create()
    {
        Option<string> reference = new("--reference")
        {
            Description = "Path of the C program",
            HelpName = "PATH",
            DefaultValueFactory = _ => "bench/reference/ring",
        };
        Option<double> seconds = CommonOptions.Seconds(2);
        Option<int> rounds = CommonOptions.Rounds();
        Option<bool> json = CommonOptions.Json();
        Command command = new(
            "ring",
            "The ring alone, without a disk: requests validated and answered, Blkring against C with Xen's ring.h"
        )
        {
            reference,
            seconds,
            rounds,
            json,
        };
        command.SetAction(parsed =>
        {
            try
            {
                return Compare(
                    parsed.GetValue(reference)!,
                    parsed.GetValue(seconds),
                    parsed.GetValue(rounds),
                    parsed.GetValue(json)
                );
            }
            catch (Exception error) when (error is BaselineException or InvalidOperationException)
            {
                Console.Error.WriteLine("blkring-load: " + error.Message);
                return 2;
            }
        });
        return command;
    }

    private static int Compare(string reference, double seconds, int rounds, bool json)
    {
        int[] cpus = CpuAffinity.Allowed();
        (int front, int back) = (cpus[0], cpus[^1]);
        List<Comparison> comparisons = [];
        long allocated = 0;
        foreach (int pages in new[] { 1, 16 })
        {
            Comparison native = new($"native, {pages} ring pages", "C, ring.h", pages == 1 ? Target : null);
            Comparison x86 = new($"x86_32, {pages} ring pages", "C, ring.h", pages == 1 ? Target : null);
            for (int round = 0; round < rounds; round++)
            {
                double c = Reference(reference, pages, seconds, front, back);
                RingAlone.Result ours = RingAlone.Run<Blkif.Native>(pages, seconds, front, back);
                native.Add(ours.PerSecond, c);
                allocated += ours.AllocatedBytes;
                c = Reference(reference, pages, seconds, front, back);
                ours = RingAlone.Run<Blkif.X86_32>(pages, seconds, front, back);
                x86.Add(ours.PerSecond, c);
                allocated += ours.AllocatedBytes;
            }
            comparisons.Add(native);
            comparisons.Add(x86);
        }
        return Comparison.Report(
            "The ring alone, requests per second",
            comparisons,
            [$"frontend on CPU {front}, backend on CPU {back}; bytes allocated by the backend: {allocated}"],
            json
        );
    }

    private static double Reference(string program, int pages, double seconds, int front, int back)
    {
        string output = Baseline.Run(
            program,
            "build it with 'make -C bench/reference' and run this from the repository's top folder, "
                + "or name it with --reference",
            "--pages",
            pages.ToString(CultureInfo.InvariantCulture),
            "--seconds",
            seconds.ToString(CultureInfo.InvariantCulture),
            "--cpus",
            string.Create(CultureInfo.InvariantCulture, $"{front},{back}"),
            "--json"
        );
        using JsonDocument document = JsonDocument.Parse(output);
        return document.RootElement.GetProperty("requests_per_second").GetDouble();
    }
}
