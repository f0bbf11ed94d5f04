using Blkring.AbiTools.Diff;
using Blkring.AbiTools.Import;
using Blkring.AbiTools.Layouts;
using Blkring.Commands;

namespace Blkring.AbiCommands;

/// <summary>
/// One side of a comparison: the protocols of a spec, a header, or a folder of either, and the headers of a folder that
/// could not be read.
/// </summary>
internal sealed record AbiVersion(IReadOnlyList<AbiModel> Models, IReadOnlyList<AbiRefusal> Refused)
{
    /// <summary>Not a protocol: the macros that define rings.</summary>
    private const string RingMacros = "ring.h";

    /// <summary>
    /// Every ring protocol depends on it. Its header is in the parent of the folder with the ring headers.
    /// </summary>
    private const string Grants = "grant_table.h";

    /// <summary>
    /// Two versions to compare. Two files are versions of one protocol, whatever their names: blkif.h and
    /// blkif-4.17.h.
    /// </summary>
    public static (AbiVersion Before, AbiVersion After) ReadBoth(string before, string after)
    {
        if (before.Length == 0 || after.Length == 0)
            throw new UsageException("a name is empty: give a spec, a header, or a folder of either");
        if (Directory.Exists(before) || Directory.Exists(after))
            return (Read(before), Read(after));
        // A spec contains its protocol's name. A header's protocol is named after the file.
        if (IsHeader(before) && !IsHeader(after))
        {
            AbiModel spec = ReadFile(after);
            return (Of(ReadFile(before, spec.Protocol)), Of(spec));
        }
        AbiModel first = ReadFile(before);
        return (Of(first), Of(ReadFile(after, first.Protocol)));
    }

    private static AbiVersion Of(AbiModel model) => new([model], []);

    private static AbiVersion Read(string path)
    {
        if (!Directory.Exists(path))
            return Of(ReadFile(path));
        string[] specs = Files(path, "*.xml");
        if (specs.Length > 0)
            return ReadFiles(specs);
        string[] headers = [.. RingHeaders(path)];
        if (headers.Length == 0)
            throw new UsageException(
                $"{path} holds no spec (*.xml) and no header (io/*.h): "
                    + "give a folder of specs, or a tree such as xen/include/public"
            );
        return ReadFiles(headers);
    }

    /// <summary>
    /// Compares the protocols that could be read on both sides. A refused one is neither removed nor added.
    /// </summary>
    public static AbiComparison Compare(AbiVersion before, AbiVersion after)
    {
        AbiRefusal[] refused = [.. before.Refused, .. after.Refused];
        HashSet<string> left = [.. refused.Select(r => r.Protocol)];
        return AbiComparer.Compare(
            [.. before.Models.Where(m => !left.Contains(m.Protocol))],
            [.. after.Models.Where(m => !left.Contains(m.Protocol))]
        ) with
        {
            Refused = refused,
        };
    }

    /// <summary>Finds the header that a spec names, such as xen/io/blkif.h, in a tree of headers.</summary>
    public static string Find(string folder, string header)
    {
        if (!Directory.Exists(folder))
            throw new UsageException(
                $"{folder} is not a folder: give a tree of headers, such as /usr/include/xen or xen/include/public"
            );
        // The tree may be xen/, the folder that contains xen/, or all of Xen's sources.
        string inner = header.StartsWith("xen/", StringComparison.Ordinal) ? header["xen/".Length..] : header;
        string[] places =
        [
            Path.Combine(folder, inner),
            Path.Combine(folder, header),
            Path.Combine(folder, "xen/include/public", inner),
        ];
        return places.FirstOrDefault(File.Exists)
            ?? throw new UsageException(
                $"{folder} has no {inner}: give a tree of headers, such as /usr/include/xen or xen/include/public"
            );
    }

    private static AbiVersion ReadFiles(string[] files)
    {
        List<(string File, AbiModel Model)> read = [];
        List<AbiRefusal> refused = [];
        foreach (string file in files)
        {
            try
            {
                AbiModel model = ReadFile(file);
                if (read.Find(r => r.Model.Protocol == model.Protocol).File is { } other)
                    throw new UsageException(
                        $"{other} and {file} both define the protocol {model.Protocol}: remove one"
                    );
                read.Add((file, model));
            }
            catch (HeaderImportException error)
            {
                // The other headers of the tree are still compared.
                refused.Add(new AbiRefusal(HeaderImport.ProtocolOf(file), error.Message));
            }
        }
        return new AbiVersion([.. read.Select(r => r.Model)], refused);
    }

    /// <param name="name">The protocol's name; null to take it from the spec or the header.</param>
    private static AbiModel ReadFile(string path, string? name = null)
    {
        AbiModel model = IsHeader(path) ? AbiSource.Import([path], name) : AbiSource.Read(path).Model;
        return model with { Protocol = name ?? model.Protocol };
    }

    private static bool IsHeader(string path) => path.EndsWith(".h", StringComparison.Ordinal);

    private static IEnumerable<string> RingHeaders(string tree)
    {
        string[] folders =
        [
            Path.Combine(tree, "io"),
            Path.Combine(tree, "xen/io"),
            Path.Combine(tree, "xen/include/public/io"),
            tree,
        ];
        string folder = folders.First(Directory.Exists);
        IEnumerable<string> grants =
            folder == tree ? [] : Files(Path.Combine(folder, ".."), Grants).Select(Path.GetFullPath);
        return Files(folder, "*.h").Where(file => Path.GetFileName(file) != RingMacros).Concat(grants);
    }

    private static string[] Files(string folder, string pattern) =>
        [.. Directory.EnumerateFiles(folder, pattern).Order(StringComparer.Ordinal)];
}
