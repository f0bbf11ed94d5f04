using Blkring.Generators.Model;

namespace Blkring.AbiTools.Import;

/// <summary>Where headers are and what they are called in a spec.</summary>
internal static class HeaderNames
{
    // How the path of a header ends, installed and in Xen's source tree.
    private static readonly string[] Roots = ["/xen/include/public/", "/include/public/", "/include/xen/"];

    /// <summary>xen/io/blkif.h, wherever the file is: the name by which C includes it once installed.</summary>
    public static string Of(string path)
    {
        string full = Path.GetFullPath(path);
        foreach (string root in Roots)
        {
            int at = full.LastIndexOf(root, StringComparison.Ordinal);
            if (at >= 0)
                return "xen/" + full[(at + root.Length)..];
        }
        // In a copy of the tree under another name, the neighbours of io/ring.h are still Xen's headers.
        if (File.Exists(Path.Combine(Path.GetDirectoryName(full) ?? "", "io", "ring.h")))
            return "xen/" + Path.GetFileName(full);
        string folder = Path.GetFileName(Path.GetDirectoryName(full)) ?? "";
        return folder == "io" ? "xen/io/" + Path.GetFileName(full) : Path.GetFileName(full);
    }

    /// <summary>
    /// The file of this header in the tree that contains <paramref name="neighbour"/>; null when the tree has none.
    /// </summary>
    public static string? Beside(string neighbour, string name)
    {
        string full = Path.GetFullPath(neighbour);
        string own = Of(full);
        if (!own.StartsWith("xen/", StringComparison.Ordinal))
            return null;
        string file = full[..^(own.Length - "xen/".Length)] + name["xen/".Length..];
        return File.Exists(file) ? file : null;
    }

    /// <summary>
    /// A protocol has the name of its header, as a C identifier: 9pfs.h is xen_9pfs, like its own types, and
    /// foreign/x86_64.h is xen_x86_64, so that it differs from the ABI.
    /// </summary>
    public static string Protocol(string path)
    {
        string name = new([
            .. Path.GetFileNameWithoutExtension(path).Select(c => char.IsAsciiLetterOrDigit(c) ? c : '_'),
        ]);
        return CName.IsIdentifier(name) && !TargetMerge.AbiNames.Contains(name) ? name : "xen_" + name;
    }
}
