using System.Runtime.InteropServices;
using System.Text;
using System.Xml;
using Blkring.Generators.Model;
using static Blkring.AbiTools.Import.LibClang;

namespace Blkring.AbiTools.Import;

/// <summary>A macro without parameters: its name, its body, its place.</summary>
internal sealed record Macro(string Name, string Body, Place At);

/// <summary>
/// Finds the macros that are constants, and their values. A macro is not an expression until it is used, so a second
/// source uses each macro in a separate definition. If that does not compile, the macro is not a constant.
/// </summary>
internal static class MacroReader
{
    private const string Probe = "blkring_value_";
    private const string SizeProbe = "blkring_size_";

    // A macro whose value depends on the place of use is not a constant: it does not compile without these names.
    private static readonly string[] OfPlace =
    [
        "__FILE__",
        "__LINE__",
        "__BASE_FILE__",
        "__FILE_NAME__",
        "__INCLUDE_LEVEL__",
        "__COUNTER__",
        "__DATE__",
        "__TIME__",
        "__TIMESTAMP__",
    ];

    /// <summary>The macros without parameters that these files define, each with its last body.</summary>
    public static IReadOnlyList<Macro> Macros(TranslationUnit unit, IReadOnlySet<string> files, HeaderSources sources)
    {
        var macros = new Dictionary<string, Macro>(StringComparer.Ordinal);
        foreach (
            CXCursor cursor in Children(unit.Root)
                .Where(c => c.kind == ClangKind.MacroDefinition && clang_Cursor_isMacroFunctionLike(c) == 0)
        )
        {
            CXSourceRange range = clang_getCursorExtent(cursor);
            Place start = TranslationUnit.Spelling(clang_getRangeStart(range));
            if (!files.Contains(start.File))
                continue;
            string name = Text(clang_getCursorSpelling(cursor));
            string body = sources.Between(start, TranslationUnit.Spelling(clang_getRangeEnd(range)))[name.Length..];
            macros.Remove(name);
            macros.Add(name, new Macro(name, Uncommented(body), start));
        }
        // A dictionary that has lost an entry forgets the order.
        return [.. macros.Values.OrderBy(m => m.At.File, StringComparer.Ordinal).ThenBy(m => m.At.Offset)];
    }

    /// <summary>Whether these files define macros with parameters.</summary>
    public static bool DefinesFunctions(TranslationUnit unit, IReadOnlySet<string> files) =>
        Children(unit.Root)
            .Any(c =>
                c.kind == ClangKind.MacroDefinition
                && clang_Cursor_isMacroFunctionLike(c) != 0
                && files.Contains(TranslationUnit.Spelling(clang_getCursorLocation(c)).File)
            );

    /// <summary>A macro that stands for a type has a name as its body.</summary>
    public static bool IsTypeName(Macro macro) => CName.IsIdentifier(macro.Body);

    /// <summary>
    /// The values of those that are constants; <paramref name="prelude"/> is a source that includes the headers.
    /// </summary>
    public static IReadOnlyDictionary<string, (decimal Value, string? Text)> Values(
        IReadOnlyList<Macro> macros,
        string prelude,
        string file,
        IReadOnlyList<string> arguments
    )
    {
        var source = new StringBuilder(prelude).Append(string.Concat(OfPlace.Select(name => $"#undef {name}\n")));
        foreach (Macro macro in macros.Where(m => IsBalanced(m.Body)))
            // Plus zero: a string becomes a pointer, which can be initialised with one.
            source
                .Append("static const __typeof__((")
                .Append(macro.Name)
                .Append(") + 0) ")
                .Append(Probe)
                .Append(macro.Name)
                .Append(" = ")
                .Append(macro.Name)
                .Append(';')
                .Append(
                    MayBeText(macro)
                        ? $" static const unsigned long {SizeProbe}{macro.Name} = sizeof({macro.Name});\n"
                        : "\n"
                );
        File.WriteAllText(file, source.ToString());

        using TranslationUnit unit = TranslationUnit.Parse(file, arguments);
        // Errors are reported by line, and each macro has a line of the source.
        HashSet<int> wrong = [.. unit.Errors().Where(e => e.At.File == file).Select(e => e.At.Line)];
        var values = new Dictionary<string, (decimal, string?)>(StringComparer.Ordinal);
        var texts = new Dictionary<string, string>(StringComparer.Ordinal);
        foreach (CXCursor cursor in Children(unit.Root).Where(c => c.kind == ClangKind.VarDecl))
        {
            string name = Text(clang_getCursorSpelling(cursor));
            if (
                name.StartsWith(Probe, StringComparison.Ordinal)
                && !wrong.Contains(TranslationUnit.Expansion(clang_getCursorLocation(cursor)).Line)
            )
            {
                string macro = name[Probe.Length..];
                if (Evaluate(cursor) is not (var number, var text))
                    continue;
                if (text is not null)
                    texts[macro] = text;
                else
                    values[macro] = (number, null);
            }
            // The size follows the value.
            else if (
                name.StartsWith(SizeProbe, StringComparison.Ordinal)
                && texts.TryGetValue(name[SizeProbe.Length..], out string? whole)
                && IsWhole(whole, cursor)
            )
            {
                values[name[SizeProbe.Length..]] = (0, whole);
            }
        }
        return values;
    }

    /// <summary>A short cut for plain numbers: most macros are, and a large header has many.</summary>
    private static bool MayBeText(Macro macro) => !char.IsAsciiDigit(macro.Body[0]);

    /// <summary>
    /// Whether libclang has reported the whole string, which it reports up to the first zero, and XML can hold it.
    /// <paramref name="size"/>: a variable with the size of the string in C.
    /// </summary>
    private static bool IsWhole(string text, CXCursor size) =>
        Evaluate(size) is (var bytes, _)
        && bytes == Encoding.UTF8.GetByteCount(text) + 1
        && text.All(c => XmlConvert.IsXmlChar(c) || char.IsSurrogate(c));

    private static unsafe (decimal, string?)? Evaluate(CXCursor variable)
    {
        nint result = clang_Cursor_Evaluate(variable);
        if (result == 0)
            return null;
        try
        {
            return clang_EvalResult_getKind(result) switch
            {
                ClangKind.EvalInt when clang_EvalResult_isUnsignedInt(result) != 0 => (
                    clang_EvalResult_getAsUnsigned(result),
                    null
                ),
                ClangKind.EvalInt => (clang_EvalResult_getAsLongLong(result), null),
                ClangKind.EvalString => (0, Marshal.PtrToStringUTF8((nint)clang_EvalResult_getAsStr(result))),
                _ => null,
            };
        }
        finally
        {
            clang_EvalResult_dispose(result);
        }
    }

    private static bool IsBalanced(string body)
    {
        int depth = 0;
        for (int i = 0; i < body.Length; i++)
        {
            char c = body[i];
            if (c is '"' or '\'')
            {
                for (i++; i < body.Length && body[i] != c; i++)
                {
                    if (body[i] == '\\')
                        i++;
                }
                continue;
            }
            depth += c switch
            {
                '(' or '{' or '[' => 1,
                ')' or '}' or ']' => -1,
                _ => 0,
            };
            if (depth < 0 || c == ';' || (c == ',' && depth == 0))
                return false;
        }
        return depth == 0 && body.Length > 0;
    }

    private static string Uncommented(string body)
    {
        int comment = body.IndexOf("/*", StringComparison.Ordinal);
        return (comment < 0 ? body : body[..comment]).Replace("\\\n", " ", StringComparison.Ordinal).Trim();
    }
}
