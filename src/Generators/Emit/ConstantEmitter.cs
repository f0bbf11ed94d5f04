using System.Globalization;
using Blkring.Generators.Layout;
using Blkring.Generators.Model;
using Microsoft.CodeAnalysis.CSharp;

namespace Blkring.Generators.Emit;

internal static class ConstantEmitter
{
    public static void Emit(SourceWriter writer, ProtocolLayout protocol) =>
        writer.Separated(
            protocol.Constants,
            constant =>
            {
                string name = CSharpName.Of(constant, protocol.Name);
                // The header is shown only if it is not that of the protocol.
                string header = constant.Header == protocol.Header ? "" : $", {constant.Header}";
                string owner = constant.Enum is null ? "" : $" of enum {constant.Enum}";
                writer.Summary($"{constant.Name}{owner}{header}. {SourceWriter.Sentence(constant.Doc)}".TrimEnd());
                writer.Line($"public const {Type(constant)} {name} = {Literal(constant)};");
            }
        );

    public static void EmitFingerprint(SourceWriter writer, ProtocolLayout protocol)
    {
        writer.Summary("Changes with every constant, type and member: FNV-1a over names, values, offsets and sizes.");
        string value = LayoutFingerprint.Of(protocol).ToString("x16", CultureInfo.InvariantCulture);
        writer.Line($"public const ulong {CSharpName.LayoutFingerprint} = 0x{value}UL;");
    }

    /// <summary>int if the value fits, as for a literal without a suffix in C.</summary>
    private static string Type(ConstantSpec constant) =>
        constant switch
        {
            { Text: not null } => "string",
            { Value: >= int.MinValue and <= int.MaxValue } => "int",
            { Value: >= 0 and <= uint.MaxValue } => "uint",
            { Value: <= long.MaxValue } => "long",
            _ => "ulong",
        };

    private static string Literal(ConstantSpec constant)
    {
        if (constant.Text is not null)
            return SymbolDisplay.FormatLiteral(constant.Text, quote: true);
        string number = constant.Value.ToString(CultureInfo.InvariantCulture);
        return Type(constant) switch
        {
            "uint" => number + "u",
            "long" => number + "L",
            "ulong" => number + "UL",
            _ => number,
        };
    }
}
