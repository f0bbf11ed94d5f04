using Blkring.AbiTools.Layouts;

namespace Blkring.Commands.Abi;

/// <summary>One side of a comparison: the protocols of a spec, a header, or a folder of either.</summary>
internal static class AbiVersion
{
    /// <summary>Not a protocol but what protocols are made with.</summary>
    private const string RingMacros = "ring.h";

    public static AbiModel[] Read(string path)
    {
        if (path.Length == 0) throw new UsageException("a name is empty: name a spec, a header, or a folder of either");
        if (!Directory.Exists(path)) return [ReadFile(path)];
        string[] specs = Files(path, "*.xml");
        if (specs.Length > 0) return ReadFiles(specs);
        string[] headers = [.. RingHeaders(path)];
        if (headers.Length == 0) throw new UsageException($"{path} holds no spec (*.xml) and no header (io/*.h): name a folder of specs, or a tree such as xen/include/public");
        return ReadFiles(headers);
    }

    /// <summary>The file of a header that a spec names, such as xen/io/blkif.h, in a tree of headers.</summary>
    public static string Find(string folder, string header)
    {
        if (!Directory.Exists(folder)) throw new UsageException($"{folder} is no folder: name a tree of headers, such as /usr/include/xen or xen/include/public");
        // The tree may begin at xen/, at what holds xen/, or be the whole of Xen's sources.
        string inner = header.StartsWith("xen/", StringComparison.Ordinal) ? header["xen/".Length..] : header;
        string[] places = [Path.Combine(folder, inner), Path.Combine(folder, header), Path.Combine(folder, "xen/include/public", inner)];
        return places.FirstOrDefault(File.Exists) ?? throw new UsageException($"{folder} has no {inner}: name a tree of headers, such as /usr/include/xen or xen/include/public");
    }

    private static AbiModel[] ReadFiles(string[] files)
    {
        AbiModel[] models = [.. files.Select(ReadFile)];
        for (int i = 1; i < models.Length; i++)
        {
            int other = Array.FindIndex(models, m => m.Protocol == models[i].Protocol);
            if (other < i) throw new UsageException($"{files[other]} and {files[i]} are both of the protocol {models[i].Protocol}: remove one");
        }
        return models;
    }

    private static AbiModel ReadFile(string path) =>
        (path.EndsWith(".h", StringComparison.Ordinal) ? AbiSource.Import(path, name: null) : AbiSource.Read(path)).Model;

    private static IEnumerable<string> RingHeaders(string tree)
    {
        string[] folders = [Path.Combine(tree, "io"), Path.Combine(tree, "xen/io"), Path.Combine(tree, "xen/include/public/io"), tree];
        return Files(folders.First(Directory.Exists), "*.h").Where(file => Path.GetFileName(file) != RingMacros);
    }

    private static string[] Files(string folder, string pattern) => [.. Directory.EnumerateFiles(folder, pattern).Order(StringComparer.Ordinal)];
}
