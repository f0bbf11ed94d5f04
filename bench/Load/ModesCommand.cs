using System.CommandLine;
using System.Globalization;
using Blkring.Engine.Disks;
using Blkring.Engine.Queues;

namespace Blkring.Load;

/// <summary>
/// The grant modes (copy, map, persistent) against each other, and long requests against short ones, through the whole
/// data path.
/// </summary>
internal static class ModesCommand
{
    private const int LongPages = 64;

    public static Command Create()
    {
        Option<string> image = CommonOptions.Image();
        Option<double> seconds = CommonOptions.Seconds(1);
        Option<int> rounds = CommonOptions.Rounds();
        Option<bool> json = CommonOptions.Json();
        Command command = new(
            "modes",
            "Reads of 1, 11 and 64 pages in each grant mode: map and persistent against copy, INDIRECT against direct"
        )
        {
            image,
            seconds,
            rounds,
            json,
        };
        command.SetAction(parsed =>
        {
            string path = parsed.GetValue(image) ?? DiskCommand.MakeImage();
            try
            {
                return Compare(path, parsed.GetValue(seconds), parsed.GetValue(rounds), parsed.GetValue(json));
            }
            catch (ImageException error)
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

    private static int Compare(string path, double seconds, int rounds, bool json)
    {
        List<Comparison> comparisons = [];
        long allocated = 0;
        foreach (int pages in new[] { 1, Abi.Blkif.MaxSegmentsPerRequest, LongPages })
        {
            foreach (GrantMode mode in new[] { GrantMode.Map, GrantMode.Persistent })
            {
                Comparison comparison = new($"{mode}, {pages} pages", $"Copy, {pages} pages", null);
                for (int round = 0; round < rounds; round++)
                    comparison.Add(Pages(pages, mode), Pages(pages, GrantMode.Copy));
                comparisons.Add(comparison);
            }
        }
        foreach (GrantMode mode in Enum.GetValues<GrantMode>())
        {
            Comparison comparison = new(
                $"{mode}, INDIRECT of {LongPages} pages",
                $"{mode}, requests of 11 pages",
                null
            );
            for (int round = 0; round < rounds; round++)
                comparison.Add(Pages(LongPages, mode), Pages(Abi.Blkif.MaxSegmentsPerRequest, mode));
            comparisons.Add(comparison);
        }
        return Comparison.Report(
            "Pages read per second, depth 16, on the loopback",
            comparisons,
            [
                string.Create(
                    CultureInfo.InvariantCulture,
                    $"{rounds} pairs of {seconds} s; bytes allocated by the data path: {allocated}"
                ),
            ],
            json
        );

        double Pages(int pages, GrantMode mode)
        {
            DiskLoad.Result result = DiskLoad.Run(
                new DiskLoad.Options
                {
                    Image = path,
                    Depth = 16,
                    Seconds = seconds,
                    Pages = pages,
                    GrantMode = mode,
                    UseIoUring = false,
                }
            );
            allocated += result.AllocatedBytes;
            return result.PerSecond * pages;
        }
    }
}
