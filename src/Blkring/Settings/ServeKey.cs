using System.Globalization;
using System.Text;

namespace Blkring.Settings;

/// <summary>
/// One setting: its name in a file and, after <c>BLKRING_</c>, in the environment; its option; what it may be.
/// </summary>
/// <param name="Default">As it would be written; empty when absence means something of its own.</param>
/// <param name="Complain">Null for a value that is right, else what to give instead.</param>
/// <param name="PerDevice">May also stand under <c>Devices</c>.</param>
internal sealed record ServeKey(
    string Name,
    string Option,
    string HelpName,
    string Default,
    string Description,
    Func<string, string?> Complain,
    bool PerDevice = false
)
{
    public const string DevicesSection = "Devices";

    /// <summary>Threads for I/O when nobody asks for more: beyond these, disks are the limit.</summary>
    public const int DefaultMaxIoThreads = 4;

    // DOMID_FIRST_RESERVED of xen.h.
    private const int FirstReservedDomain = 0x7ff0;

    public static readonly ServeKey Backend = new(
        "Backend",
        "--backend",
        "NAME",
        "vbd3",
        "The backend directory of xenstore to serve: vbd3 (xl's backendtype=tap), qdisk, vbd, or any name",
        ComplainOfBackend
    );

    public static readonly ServeKey Frontend = new(
        "Frontend",
        "--frontend",
        "DOMID",
        "",
        "Serve only this domain, so that several backends can share a directory. Without it: every domain",
        Whole(0, FirstReservedDomain - 1)
    );

    public static readonly ServeKey Cache = OneOf<CacheChoice>(
        "Cache",
        "--cache",
        "none: O_DIRECT where the image can. writeback: the page cache. writethrough: every answered write is on stable storage"
    );

    public static readonly ServeKey Grants = OneOf<GrantChoice>(
        "Grants",
        "--grants",
        "How guest pages are reached. copy: by grant copy. map: mapped for each request. persistent: kept mapped, with guests that can. auto: persistent, or copy where the image is opened with O_DIRECT"
    );

    public static readonly ServeKey MaxQueues = Number(
        "MaxQueues",
        "--max-queues",
        4,
        1,
        64,
        "Queues offered to a frontend",
        perDevice: true
    );

    public static readonly ServeKey MaxRingPageOrder = Number(
        "MaxRingPageOrder",
        "--max-ring-page-order",
        4,
        0,
        4,
        "Ring pages offered, as a power of two: 4 offers 16 pages",
        perDevice: true
    );

    public static readonly ServeKey MaxIndirectSegments = Number(
        "MaxIndirectSegments",
        "--max-indirect-segments",
        256,
        0,
        4096,
        "Segments of an indirect request. 0: not offered",
        perDevice: true
    );

    public static readonly ServeKey NativeSectors = OneOf<YesNo>(
        "NativeSectors",
        "--native-sectors",
        "yes: an image of 4096-byte sectors is offered with these, for guests that can; no: with 512"
    );

    public static readonly ServeKey Lock = OneOf(
        "Lock",
        "--lock",
        "no: others may write the image at the same time, as with mode w!",
        YesNo.Yes
    );

    public static readonly ServeKey Iops = new(
        "Iops",
        "--iops",
        "N",
        "0",
        "Requests a second that a device may make. 0: any number",
        ComplainOfRate,
        PerDevice: true
    );

    public static readonly ServeKey IopsBurst = new(
        "IopsBurst",
        "--iops-burst",
        "N",
        "0",
        "Requests at once after a rest, with --iops",
        ComplainOfRate,
        PerDevice: true
    );

    public static readonly ServeKey Bandwidth = new(
        "Bandwidth",
        "--bandwidth",
        "SIZE",
        "0",
        "Bytes a second that a device may move: 200M. 0: any number",
        Sizes.Complain,
        PerDevice: true
    );

    public static readonly ServeKey BandwidthBurst = new(
        "BandwidthBurst",
        "--bandwidth-burst",
        "SIZE",
        "0",
        "Bytes at once after a rest, with --bandwidth",
        Sizes.Complain,
        PerDevice: true
    );

    public static readonly ServeKey IoThreads = new(
        "IoThreads",
        "--io-threads",
        "N",
        "",
        $"Threads that all queues share. Without it: one for each CPU, at most {DefaultMaxIoThreads}",
        Whole(1, 256)
    );

    public static readonly ServeKey Cpus = new(
        "Cpus",
        "--cpus",
        "LIST",
        "",
        "The CPUs that I/O threads run on, one after the other: 2,4-7. Without it: any",
        CpuList.Complain
    );

    public static readonly ServeKey ThreadsPerQueue = OneOf<ThreadChoice>(
        "ThreadsPerQueue",
        "--threads-per-queue",
        "shared: queues spread over --io-threads. dedicated: each queue has a thread of its own",
        perDevice: false
    );

    public static readonly ServeKey PollWindowMicroseconds = Number(
        "PollWindowMicroseconds",
        "--poll-window",
        50,
        0,
        10_000,
        "How long a thread looks for work before it sleeps, where that has paid; six times at most where work takes long. 0: never",
        helpName: "MICROSECONDS"
    );

    public static readonly ServeKey DrainTimeoutSeconds = Number(
        "DrainTimeoutSeconds",
        "--drain-timeout",
        20,
        1,
        3600,
        "Seconds that a stop waits for requests under way",
        helpName: "S"
    );

    public static readonly ServeKey ControlSocket = new(
        "ControlSocket",
        "--control-socket",
        "PATH",
        "",
        $"Where 'blkring list' and the others reach the daemon. Without it: {RuntimeFolder.Standard}/NAME.sock",
        ComplainOfPath
    );

    public static readonly ServeKey LogLevel = new(
        "LogLevel",
        "--log-level",
        "LEVEL",
        "information",
        "Log this and what is worse: debug, information, warning or error",
        Among("debug", "information", "warning", "error")
    );

    public static readonly ServeKey[] All =
    [
        Backend,
        Frontend,
        Cache,
        Grants,
        MaxQueues,
        MaxRingPageOrder,
        MaxIndirectSegments,
        NativeSectors,
        Lock,
        Iops,
        IopsBurst,
        Bandwidth,
        BandwidthBurst,
        IoThreads,
        Cpus,
        ThreadsPerQueue,
        PollWindowMicroseconds,
        DrainTimeoutSeconds,
        ControlSocket,
        LogLevel,
    ];

    private static ServeKey OneOf<TChoice>(
        string name,
        string option,
        string description,
        TChoice standard = default,
        bool perDevice = true
    )
        where TChoice : struct, Enum
    {
        string[] choices = [.. Enum.GetNames<TChoice>().Select(choice => choice.ToLowerInvariant())];
        return new ServeKey(
            name,
            option,
            string.Join('|', choices),
            standard.ToString().ToLowerInvariant(),
            description,
            Among(choices),
            perDevice
        );
    }

    private static ServeKey Number(
        string name,
        string option,
        int standard,
        int least,
        int most,
        string description,
        string helpName = "N",
        bool perDevice = false
    ) =>
        new(
            name,
            option,
            helpName,
            standard.ToString(CultureInfo.InvariantCulture),
            description,
            Whole(least, most),
            perDevice
        );

    private static Func<string, string?> Among(params string[] choices) =>
        text =>
            choices.Contains(text, StringComparer.OrdinalIgnoreCase)
                ? null
                : $"give {string.Join(", ", choices[..^1])} or {choices[^1]}";

    private static Func<string, string?> Whole(int least, int most) =>
        text =>
            int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out int number)
            && number >= least
            && number <= most
                ? null
                : $"give a whole number from {least} to {most}";

    private static string? ComplainOfRate(string text) =>
        long.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out _)
            ? null
            : "give a whole number; 0: no limit";

    private static string? ComplainOfBackend(string text) =>
        text.Length is > 0 and <= 32 && text.All(c => char.IsAsciiLetterOrDigit(c) || c is '-' or '_')
            ? null
            : "give a name of letters, digits, '-' and '_', as xenstore has it below backend/";

    private static string? ComplainOfPath(string text) =>
        text.StartsWith('/') && Encoding.UTF8.GetByteCount(text) <= ControlSocketPath.MaxBytes
            ? null
            : $"give an absolute path of at most {ControlSocketPath.MaxBytes} bytes";
}
